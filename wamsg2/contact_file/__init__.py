"""A file of contacts as people have it: CSV of any program or a workbook of Excel, read as rows with their numbers.

The file is looked at as a whole before its first row is given, so that what is wrong with all of it is said in time.
"""
