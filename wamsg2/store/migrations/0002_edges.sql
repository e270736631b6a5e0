-- What people and the provider really send: words that are no reply, opt-outs that a person must judge, the history of
-- consent, numbers that were written anew, and figures that prove a promise without comparing clocks.

-- The key that references were made with. It outlives a change of `phone_key`, or a restore would make other references.
ALTER TABLE contacts ADD COLUMN reference_key TEXT NOT NULL DEFAULT '';
UPDATE contacts SET reference_key = phone_key;

-- Set in the transaction before the first row of an ended campaign is removed: nobody joins it any more.
ALTER TABLE campaigns ADD COLUMN closed_at INTEGER;
-- When it was last resumed: a Message 2 whose reply was too old then is not sent, even if it was in doubt.
ALTER TABLE campaigns ADD COLUMN resumed_at INTEGER;

-- Number of the claim, counted over all messages (`totals.last_turn`): the order of claims and consents, without clocks.
ALTER TABLE messages ADD COLUMN claim_number INTEGER;
-- Milliseconds from the start of the send before, or of the process, to the start of the last request: measured by
-- the clock that never steps.
ALTER TABLE messages ADD COLUMN gap_ms INTEGER;
-- Message 2: the reply window in force when it was created.
ALTER TABLE messages ADD COLUMN window_ms INTEGER;
-- Message 2: when its Message 1 had gone out, as far as was known then.
ALTER TABLE messages ADD COLUMN window_from INTEGER;
-- How often in a row it was refused for the account's sake (key, credit, device) since others went out.
ALTER TABLE messages ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;

-- The same note again is counted, not stored again.
ALTER TABLE message_notes ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE message_notes ADD COLUMN last_at INTEGER;

-- Reference of the message that it may be about, by recipient and words: taken once that one is accepted without an id.
ALTER TABLE waiting_receipts ADD COLUMN candidate TEXT;
CREATE INDEX waiting_receipts_candidate ON waiting_receipts (candidate) WHERE candidate IS NOT NULL;
-- When the provider says that it sent the message, whatever else it reports.
ALTER TABLE waiting_receipts ADD COLUMN sent_at INTEGER;
ALTER TABLE waiting_receipts ADD COLUMN is_revoked INTEGER NOT NULL DEFAULT 0 CHECK (is_revoked IN (0, 1));

-- How the body is packed: 0 as it came, otherwise with the dictionary of that number.
ALTER TABLE events ADD COLUMN packing INTEGER NOT NULL DEFAULT 0 CHECK (packing >= 0);

-- Every word of consent that counted, in the order of its commits.
CREATE TABLE consents (
    id             INTEGER PRIMARY KEY,
    contact_id     INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    opted_out      INTEGER NOT NULL CHECK (opted_out IN (0, 1)),
    source         TEXT NOT NULL CHECK (source IN ('word', 'other_id', 'hand', 'merge', 'before')),
    written_at     INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    claims_before  INTEGER NOT NULL     -- number of the last claim before it
) STRICT;
CREATE INDEX consents_contact ON consents (contact_id, written_at);
INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
SELECT id, opted_out, 'before', consent_at, consent_at, (SELECT value FROM totals WHERE name = 'last_turn')
FROM contacts WHERE consent_at IS NOT NULL ORDER BY id;

CREATE TABLE interactions_2 (
    id            INTEGER PRIMARY KEY,
    event_id      INTEGER,             -- of the raw event, as long as that is kept
    contact_id    INTEGER REFERENCES contacts (id) ON DELETE CASCADE,
    campaign_id   INTEGER REFERENCES campaigns (id) ON DELETE CASCADE,
    message_id    INTEGER,             -- the Message 1 that it answers
    type          TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN (
        'message_2_queued', 'message_2_exists', 'no_recent_message_1', 'waiting_for_message_1', 'no_message_2',
        'campaign_cancelled', 'opted_out', 'opt_out', 'opt_in', 'unknown_contact', 'reaction', 'not_a_reply',
        'opt_out_suspected')),
    ruling        TEXT CHECK (ruling IN ('opt_out', 'reply')),  -- of a person, on a suspected opt-out
    ruled_at      INTEGER,
    consent_only  INTEGER NOT NULL DEFAULT 0 CHECK (consent_only IN (0, 1)),  -- read for words of consent, no reply
    matched_by    TEXT CHECK (matched_by IN ('quote', 'number', 'chat', 'history', 'person')),
    text          TEXT NOT NULL,
    wa_id         TEXT NOT NULL,
    quoted_id     TEXT,
    sender_phone  TEXT,
    sender_chat   TEXT,
    reply_at      INTEGER NOT NULL,
    written_at    INTEGER NOT NULL,    -- the same by the provider's clock alone, which may be ahead of ours
    received_at   INTEGER NOT NULL,
    decided_at    INTEGER,             -- where that was later than its arrival
    CHECK (outcome <> 'unknown_contact' OR contact_id IS NULL),
    CHECK (outcome <> 'opt_out_suspected' OR (contact_id IS NOT NULL AND ruling IS NULL)),
    CHECK ((ruling IS NULL) = (ruled_at IS NULL)),
    CHECK (outcome <> 'waiting_for_message_1' OR message_id IS NOT NULL)
) STRICT;
INSERT INTO interactions_2 (id, event_id, contact_id, campaign_id, message_id, type, outcome, text, wa_id, quoted_id,
                            sender_phone, sender_chat, reply_at, written_at, received_at, decided_at)
SELECT id, event_id, contact_id, campaign_id, message_id, type, outcome, text, wa_id, quoted_id,
       sender_phone, sender_chat, reply_at, written_at, received_at, decided_at FROM interactions ORDER BY id;
DROP TABLE interactions;
ALTER TABLE interactions_2 RENAME TO interactions;

-- With the campaign, so that the removal of one looks through this and not through the words of everybody.
CREATE INDEX interactions_contact ON interactions (contact_id, reply_at, campaign_id);
CREATE INDEX interactions_waiting ON interactions (message_id) WHERE outcome = 'waiting_for_message_1';
CREATE INDEX interactions_unknown ON interactions (sender_chat) WHERE outcome = 'unknown_contact';
CREATE INDEX interactions_unknown_phone ON interactions (sender_phone) WHERE outcome = 'unknown_contact';
CREATE INDEX interactions_suspected ON interactions (id) WHERE outcome = 'opt_out_suspected';

INSERT INTO totals (name, value) VALUES ('suspected', 0), ('not_replies', 0);

CREATE TRIGGER interactions_added AFTER INSERT ON interactions WHEN new.campaign_id IS NOT NULL BEGIN
    UPDATE campaign_counts SET interactions = interactions + 1 WHERE campaign_id = new.campaign_id;
END;
CREATE TRIGGER interactions_added_counted AFTER INSERT ON interactions
WHEN new.outcome IN ('unknown_contact', 'opt_out_suspected', 'not_a_reply') BEGIN
    UPDATE totals SET value = value + 1
    WHERE name = CASE new.outcome WHEN 'unknown_contact' THEN 'unmatched'
                                  WHEN 'opt_out_suspected' THEN 'suspected' ELSE 'not_replies' END;
END;
-- The first reply, and the first opt-out word, of a contact in a campaign.
CREATE TRIGGER interactions_added_reply AFTER INSERT ON interactions
WHEN new.campaign_id IS NOT NULL AND new.outcome NOT IN ('reaction', 'opt_out', 'not_a_reply') BEGIN
    UPDATE recipients SET replied_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id
      AND (replied_at IS NULL OR replied_at > new.reply_at);
END;
CREATE TRIGGER interactions_added_opt_out AFTER INSERT ON interactions
WHEN new.campaign_id IS NOT NULL AND new.outcome = 'opt_out' BEGIN
    UPDATE recipients SET opted_out_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id
      AND (opted_out_at IS NULL OR opted_out_at > new.reply_at);
END;
CREATE TRIGGER interactions_removed AFTER DELETE ON interactions BEGIN
    UPDATE campaign_counts SET interactions = interactions - 1 WHERE campaign_id = old.campaign_id;
    UPDATE totals SET value = value - 1
    WHERE name = CASE old.outcome WHEN 'unknown_contact' THEN 'unmatched' WHEN 'opt_out_suspected' THEN 'suspected'
                                  WHEN 'not_a_reply' THEN 'not_replies' END;
    -- Another one may be the first now.
    UPDATE recipients SET
        replied_at = (SELECT min(i.reply_at) FROM interactions i
                      WHERE i.contact_id = old.contact_id AND i.campaign_id = old.campaign_id
                        AND i.outcome NOT IN ('reaction', 'opt_out', 'not_a_reply')),
        opted_out_at = (SELECT min(i.reply_at) FROM interactions i
                        WHERE i.contact_id = old.contact_id AND i.campaign_id = old.campaign_id
                          AND i.outcome = 'opt_out')
    WHERE campaign_id = old.campaign_id AND contact_id = old.contact_id;
END;
CREATE TRIGGER interactions_changed AFTER UPDATE OF campaign_id, contact_id, outcome ON interactions BEGIN
    UPDATE campaign_counts SET interactions = interactions - 1 WHERE campaign_id = old.campaign_id;
    UPDATE campaign_counts SET interactions = interactions + 1 WHERE campaign_id = new.campaign_id;
    UPDATE totals SET value = value - 1
    WHERE name = CASE old.outcome WHEN 'unknown_contact' THEN 'unmatched' WHEN 'opt_out_suspected' THEN 'suspected'
                                  WHEN 'not_a_reply' THEN 'not_replies' END;
    UPDATE totals SET value = value + 1
    WHERE name = CASE new.outcome WHEN 'unknown_contact' THEN 'unmatched' WHEN 'opt_out_suspected' THEN 'suspected'
                                  WHEN 'not_a_reply' THEN 'not_replies' END;
    -- What was the first may not count any more: looked up anew, for the campaign that it leaves and the one it joins.
    UPDATE recipients SET
        replied_at = (SELECT min(i.reply_at) FROM interactions i
                      WHERE i.contact_id = recipients.contact_id AND i.campaign_id = recipients.campaign_id
                        AND i.outcome NOT IN ('reaction', 'opt_out', 'not_a_reply')),
        opted_out_at = (SELECT min(i.reply_at) FROM interactions i
                        WHERE i.contact_id = recipients.contact_id AND i.campaign_id = recipients.campaign_id
                          AND i.outcome = 'opt_out')
    WHERE campaign_id IN (old.campaign_id, new.campaign_id) AND contact_id IN (old.contact_id, new.contact_id);
END;

-- First replies were those that arrived first, also where they belong to no campaign any more.
UPDATE recipients SET
    replied_at = (SELECT min(i.reply_at) FROM interactions i
                  WHERE i.contact_id = recipients.contact_id AND i.campaign_id = recipients.campaign_id
                    AND i.outcome NOT IN ('reaction', 'opt_out')),
    opted_out_at = (SELECT min(i.reply_at) FROM interactions i
                    WHERE i.contact_id = recipients.contact_id AND i.campaign_id = recipients.campaign_id
                      AND i.outcome = 'opt_out')
WHERE replied_at IS NOT NULL OR opted_out_at IS NOT NULL;

-- Up to then raw events have been removed.
INSERT INTO marks (name, at)
SELECT 'events_removed', i.received_at FROM interactions i
WHERE i.event_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = i.event_id AND e.received_at = i.received_at)
ORDER BY i.received_at DESC LIMIT 1;

-- The list of inbound messages that is not read to its end yet; its pages before `next_page` are.
CREATE TABLE listings (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    since      INTEGER NOT NULL,       -- it has the messages from then on
    began_at   INTEGER NOT NULL,
    next_page  INTEGER NOT NULL CHECK (next_page >= 0),
    newest_at  INTEGER                 -- of the messages on those pages, by the provider's clock
) STRICT;
