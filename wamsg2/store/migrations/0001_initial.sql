-- Times are INTEGER milliseconds UTC. The CHECKs repeat the rules, so that a wrong row cannot be written at all.

CREATE TABLE contacts (
    id          INTEGER PRIMARY KEY,
    phone       TEXT NOT NULL,         -- E.164 as first imported: what we write to
    phone_key   TEXT NOT NULL UNIQUE,  -- one spelling for all national spellings of the number
    opted_out   INTEGER NOT NULL DEFAULT 0 CHECK (opted_out IN (0, 1)),
    consent_at  INTEGER,               -- when the last STOP or START was written
    created_at  INTEGER NOT NULL,
    -- A person who was forgotten: the row stays for the counts, and says nothing of them (see `forgotten`).
    forgotten_at  INTEGER,
    CHECK (forgotten_at IS NULL OR opted_out = 1)
) STRICT;

-- Chat ids that cannot be derived from the number: …@lid, and …@c.us in a spelling of its own.
CREATE TABLE chat_ids (
    chat_id     TEXT PRIMARY KEY,
    contact_id  INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_ids_contact ON chat_ids (contact_id);

CREATE TABLE campaigns (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    key          TEXT NOT NULL,        -- random; keys the references of its messages
    status       TEXT NOT NULL CHECK (status IN ('draft', 'running', 'paused', 'cancelled')),
    message_1    TEXT NOT NULL,
    message_2    TEXT,
    turn         INTEGER NOT NULL DEFAULT 0,  -- number of the last Message 1 claim: the lowest goes next
    created_at   INTEGER NOT NULL,
    launched_at  INTEGER,
    restored_at  INTEGER,              -- came out of a backup then: what was sent since the backup is unknown
    CHECK (status NOT IN ('running', 'paused') OR launched_at IS NOT NULL)
) STRICT;
CREATE INDEX campaigns_status ON campaigns (status, turn);

-- A contact in a campaign.
CREATE TABLE recipients (
    campaign_id   INTEGER NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    contact_id    INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    variables     TEXT NOT NULL,       -- JSON object: column -> value
    replied_at    INTEGER,             -- first reply that belongs to this campaign
    opted_out_at  INTEGER,             -- first opt-out word that belongs to this campaign
    PRIMARY KEY (campaign_id, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipients_contact ON recipients (contact_id);

CREATE TABLE messages (
    id                INTEGER PRIMARY KEY,
    contact_id        INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
    campaign_id       INTEGER NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    step              INTEGER NOT NULL CHECK (step IN (1, 2)),
    status            TEXT NOT NULL CHECK (status IN ('queued', 'sending', 'sent', 'delivered', 'read',
                                                      'failed', 'cancelled', 'uncertain')),
    reference         TEXT NOT NULL,   -- our id of it at the provider
    attempt           INTEGER NOT NULL DEFAULT 0,
    text              TEXT,            -- as rendered for the last attempt
    queue_id          TEXT,            -- the provider's id of the queued message
    wa_id             TEXT,            -- WhatsApp's id of the message
    created_at        INTEGER NOT NULL,
    due_at            INTEGER NOT NULL,
    reply_at          INTEGER,         -- Message 2: when the reply was written that it answers
    attempted_at      INTEGER,         -- start of the last request
    limit_ms          INTEGER,         -- the rate limit in force at its last claim; none if no request followed
    sent_at           INTEGER,         -- when it went out: the provider's word if known, else attempted_at
    provider_sent_at  INTEGER,
    delivered_at      INTEGER,
    read_at           INTEGER,
    doubts            INTEGER NOT NULL DEFAULT 0,  -- how often it was uncertain
    uncertain_since   INTEGER,
    absent_since      INTEGER,         -- since when every look-up says that it never arrived
    look_ups          INTEGER NOT NULL DEFAULT 0,
    look_up_at        INTEGER,         -- when to ask the provider about it next
    reason            TEXT,            -- why failed, cancelled, uncertain or put back
    note              TEXT,            -- what was reported too late to count
    CHECK ((step = 2) = (reply_at IS NOT NULL)),
    CHECK (status NOT IN ('sent', 'delivered', 'read') OR sent_at IS NOT NULL),
    CHECK (status <> 'sending' OR (attempted_at IS NOT NULL AND attempt > 0 AND text IS NOT NULL)),
    CHECK (status <> 'uncertain' OR doubts > 0),
    -- Uncertain without an attempt: sent, if at all, by the daemon before a restore. A Message 1 of these without a
    -- time is looked up when nothing else is due.
    CHECK (status <> 'uncertain' OR attempt = 0 OR (attempted_at IS NOT NULL AND text IS NOT NULL)),
    CHECK (look_up_at IS NOT NULL OR status <> 'uncertain' OR (attempt = 0 AND step = 1)),
    CHECK (look_up_at IS NULL OR status IN ('uncertain', 'sent')),
    CHECK (status NOT IN ('failed', 'cancelled', 'uncertain') OR reason IS NOT NULL)
) STRICT;
-- The judge of "once" (contract §1, reply 7; promise P1).
CREATE UNIQUE INDEX messages_once ON messages (contact_id, campaign_id, step);
CREATE INDEX messages_queue ON messages (campaign_id, step, due_at) WHERE status = 'queued';
CREATE INDEX messages_sending ON messages (id) WHERE status = 'sending';
CREATE INDEX messages_uncertain ON messages (look_up_at) WHERE status = 'uncertain';
CREATE INDEX messages_unreported ON messages (look_up_at) WHERE status = 'sent' AND look_up_at IS NOT NULL;
-- Of messages that the provider may know: a launch would spend most of its time on these, as they are in no order.
-- Without the status, or every receipt would take its entry out and put it back.
CREATE UNIQUE INDEX messages_reference ON messages (reference) WHERE attempt > 0 OR doubts > 0;
CREATE INDEX messages_queue_id ON messages (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX messages_wa_id ON messages (wa_id) WHERE wa_id IS NOT NULL;
CREATE INDEX messages_window ON messages (campaign_id, sent_at) WHERE step = 1 AND sent_at IS NOT NULL;

-- What happened to a message off the ordinary way: deferrals, doubts, look-ups, a person's word.
CREATE TABLE message_notes (
    id          INTEGER PRIMARY KEY,
    message_id  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    at          INTEGER NOT NULL,
    what        TEXT NOT NULL
) STRICT;
CREATE INDEX message_notes_message ON message_notes (message_id);

-- Raw webhook events, each once by what it says.
CREATE TABLE events (
    id           INTEGER PRIMARY KEY,
    identity     BLOB NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    result       TEXT NOT NULL CHECK (result IN ('accepted', 'ignored')),
    source       TEXT NOT NULL CHECK (source IN ('webhook', 'catch_up')),
    body         BLOB NOT NULL,
    received_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX events_received ON events (source, received_at);

CREATE TABLE interactions (
    id            INTEGER PRIMARY KEY,
    event_id      INTEGER,             -- of the raw event, as long as that is kept
    contact_id    INTEGER REFERENCES contacts (id) ON DELETE CASCADE,
    campaign_id   INTEGER REFERENCES campaigns (id) ON DELETE CASCADE,
    message_id    INTEGER,             -- the Message 1 that it answers
    type          TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN (
        'message_2_queued', 'message_2_exists', 'no_recent_message_1', 'waiting_for_message_1', 'no_message_2',
        'campaign_cancelled', 'opted_out', 'opt_out', 'opt_in', 'unknown_contact', 'reaction')),
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
    CHECK (outcome <> 'waiting_for_message_1' OR message_id IS NOT NULL)
) STRICT;
-- With the campaign, so that the removal of one looks through this and not through the words of everybody.
CREATE INDEX interactions_contact ON interactions (contact_id, reply_at, campaign_id);
CREATE INDEX interactions_waiting ON interactions (message_id) WHERE outcome = 'waiting_for_message_1';
CREATE INDEX interactions_unknown ON interactions (sender_chat) WHERE outcome = 'unknown_contact';
CREATE INDEX interactions_unknown_phone ON interactions (sender_phone) WHERE outcome = 'unknown_contact';

-- Receipts that match no message yet; each leaves when an id of a message becomes known that it names.
CREATE TABLE waiting_receipts (
    id           INTEGER PRIMARY KEY,
    status       TEXT NOT NULL CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    reference    TEXT,
    queue_id     TEXT,
    wa_id        TEXT,
    occurred_at  INTEGER,
    reason       TEXT,
    chat_ids     TEXT NOT NULL,  -- of the recipient, separated by spaces
    received_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX waiting_receipts_queue_id ON waiting_receipts (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX waiting_receipts_wa_id ON waiting_receipts (wa_id) WHERE wa_id IS NOT NULL;
CREATE INDEX waiting_receipts_reference ON waiting_receipts (reference) WHERE reference IS NOT NULL;

-- What an operator is told, each piece of news a row, and the POST that tells it.
CREATE TABLE notifications (
    id            INTEGER PRIMARY KEY,
    -- The receiver's word for it. Random, so that after a restore from a backup no old one names something new.
    key           TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(12)))),
    kind          TEXT NOT NULL,       -- held, device_lost, uncertain, disk_low, webhook_wrong, campaign_completed, ...
    subject       TEXT NOT NULL,       -- what it is about: a campaign's name, a moment, or empty
    detail        TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('raised', 'cleared', 'happened')),
    raised_at     INTEGER NOT NULL,    -- since when it is so, or when it happened
    cleared_at    INTEGER,             -- when it was over
    created_at    INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    next_at       INTEGER,             -- when to POST it next; none: delivered, given up, or nowhere to go
    delivered_at  INTEGER,
    given_up_at   INTEGER,
    CHECK (state <> 'cleared' OR cleared_at IS NOT NULL),
    CHECK (state <> 'happened' OR cleared_at IS NULL),
    CHECK ((next_at IS NOT NULL) + (delivered_at IS NOT NULL) + (given_up_at IS NOT NULL) <= 1)
) STRICT;
-- The judges of "told once": one open condition of a kind, and what happened for ever.
CREATE UNIQUE INDEX notifications_open ON notifications (kind, subject)
WHERE state = 'raised' AND cleared_at IS NULL;
CREATE UNIQUE INDEX notifications_happened ON notifications (kind, subject) WHERE state = 'happened';
CREATE INDEX notifications_waiting ON notifications (id) WHERE next_at IS NOT NULL;
CREATE INDEX notifications_given_up ON notifications (id) WHERE given_up_at IS NOT NULL;

-- Keyed hashes of the numbers and chat ids of people who were forgotten: neither an import nor an event brings them
-- back. Their contact has the hash of their number (in hex) as its phone_key.
CREATE TABLE forgotten (
    hash          BLOB PRIMARY KEY,
    phone_hash    BLOB NOT NULL,       -- of the same person's number
    forgotten_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
    name  TEXT PRIMARY KEY,
    key   BLOB NOT NULL                -- random
) STRICT, WITHOUT ROWID;

-- Counters, kept by the transactions that change the rows. `wamsg2 verify` recounts them.
CREATE TABLE message_counts (
    campaign_id  INTEGER NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    step         INTEGER NOT NULL,
    status       TEXT NOT NULL,
    n            INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, step, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaign_counts (
    campaign_id   INTEGER PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
    contacts      INTEGER NOT NULL DEFAULT 0,
    replied       INTEGER NOT NULL DEFAULT 0,
    interactions  INTEGER NOT NULL DEFAULT 0,
    opted_out     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE totals (
    name   TEXT PRIMARY KEY,
    value  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO totals (name, value)
VALUES ('webhooks_received', 0), ('webhooks_duplicates', 0), ('caught_up', 0), ('events_removed', 0),
       ('unmatched', 0), ('last_turn', 0);

-- Moments that outlive the process.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER campaigns_added AFTER INSERT ON campaigns BEGIN
    INSERT INTO campaign_counts (campaign_id) VALUES (new.id);
END;

CREATE TRIGGER recipients_added AFTER INSERT ON recipients BEGIN
    UPDATE campaign_counts SET contacts = contacts + 1 WHERE campaign_id = new.campaign_id;
END;
CREATE TRIGGER recipients_removed AFTER DELETE ON recipients BEGIN
    UPDATE campaign_counts
    SET contacts = contacts - 1, replied = replied - (old.replied_at IS NOT NULL),
        opted_out = opted_out - (old.opted_out_at IS NOT NULL)
    WHERE campaign_id = old.campaign_id;
END;
CREATE TRIGGER recipients_changed AFTER UPDATE OF replied_at, opted_out_at ON recipients
WHEN new.replied_at IS NOT old.replied_at OR new.opted_out_at IS NOT old.opted_out_at BEGIN
    UPDATE campaign_counts
    SET replied = replied + (new.replied_at IS NOT NULL) - (old.replied_at IS NOT NULL),
        opted_out = opted_out + (new.opted_out_at IS NOT NULL) - (old.opted_out_at IS NOT NULL)
    WHERE campaign_id = new.campaign_id;
END;

CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
    INSERT INTO message_counts (campaign_id, step, status, n) VALUES (new.campaign_id, new.step, new.status, 1)
    ON CONFLICT (campaign_id, step, status) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
    UPDATE message_counts SET n = n - 1
    WHERE campaign_id = old.campaign_id AND step = old.step AND status = old.status;
END;
CREATE TRIGGER messages_moved AFTER UPDATE OF status ON messages WHEN new.status <> old.status BEGIN
    UPDATE message_counts SET n = n - 1
    WHERE campaign_id = old.campaign_id AND step = old.step AND status = old.status;
    INSERT INTO message_counts (campaign_id, step, status, n) VALUES (new.campaign_id, new.step, new.status, 1)
    ON CONFLICT (campaign_id, step, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER events_added AFTER INSERT ON events BEGIN
    UPDATE totals SET value = value + 1
    WHERE name = CASE new.source WHEN 'webhook' THEN 'webhooks_received' ELSE 'caught_up' END;
END;
CREATE TRIGGER events_removed AFTER DELETE ON events BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'events_removed';
END;

CREATE TRIGGER interactions_added AFTER INSERT ON interactions WHEN new.campaign_id IS NOT NULL BEGIN
    UPDATE campaign_counts SET interactions = interactions + 1 WHERE campaign_id = new.campaign_id;
END;
CREATE TRIGGER interactions_added_unknown AFTER INSERT ON interactions WHEN new.outcome = 'unknown_contact' BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'unmatched';
END;
-- The first reply, and the first opt-out word, of a contact in a campaign.
CREATE TRIGGER interactions_added_reply AFTER INSERT ON interactions
WHEN new.campaign_id IS NOT NULL AND new.outcome NOT IN ('reaction', 'opt_out') BEGIN
    UPDATE recipients SET replied_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id AND replied_at IS NULL;
END;
CREATE TRIGGER interactions_added_opt_out AFTER INSERT ON interactions
WHEN new.campaign_id IS NOT NULL AND new.outcome = 'opt_out' BEGIN
    UPDATE recipients SET opted_out_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id AND opted_out_at IS NULL;
END;
CREATE TRIGGER interactions_removed AFTER DELETE ON interactions BEGIN
    UPDATE campaign_counts SET interactions = interactions - 1 WHERE campaign_id = old.campaign_id;
    UPDATE totals SET value = value - 1 WHERE name = 'unmatched' AND old.outcome = 'unknown_contact';
END;
CREATE TRIGGER interactions_changed AFTER UPDATE OF campaign_id, outcome ON interactions BEGIN
    UPDATE campaign_counts SET interactions = interactions - 1 WHERE campaign_id = old.campaign_id;
    UPDATE campaign_counts SET interactions = interactions + 1 WHERE campaign_id = new.campaign_id;
    UPDATE totals SET value = value + (new.outcome = 'unknown_contact') - (old.outcome = 'unknown_contact')
    WHERE name = 'unmatched' AND new.outcome <> old.outcome;
    UPDATE recipients SET replied_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id AND replied_at IS NULL
      AND new.outcome NOT IN ('reaction', 'opt_out');
    UPDATE recipients SET opted_out_at = new.reply_at
    WHERE campaign_id = new.campaign_id AND contact_id = new.contact_id AND opted_out_at IS NULL
      AND new.outcome = 'opt_out';
END;
