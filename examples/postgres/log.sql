-- Three tables for the logs of `engine.rs`, and the two functions that change them.
--
-- A call of a function is one statement and one transaction. The lock on a row of `eventstream_head` orders all calls for
-- its log, and a lost connection cannot leave it locked. The functions need the isolation level `read committed`, in which
-- each statement sees everything that was committed before the lock was granted.

-- Connections that create the tables at the same time wait here.
SELECT pg_advisory_xact_lock(hashtext('eventstream'));

-- The end of each log.
CREATE TABLE IF NOT EXISTS eventstream_head (
  namespace text PRIMARY KEY, epoch bigint NOT NULL, last bigint NOT NULL, mark bytea NOT NULL
);

-- The highest number that each origin has appended, and its sequence. The entry itself may have left the log.
CREATE TABLE IF NOT EXISTS eventstream_origin (
  namespace text, origin bigint, number bigint NOT NULL, sequence bigint NOT NULL, seen timestamptz NOT NULL,
  PRIMARY KEY (namespace, origin)
);

-- The first entry of an epoch has no origin. A mark is random, so no other history has an entry with the same one.
CREATE TABLE IF NOT EXISTS eventstream_entry (
  namespace text, sequence bigint, mark bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()),
  origin bigint, number bigint, channel text, payload bytea, at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (namespace, sequence), CHECK (origin IS NULL OR (number, channel, payload) IS NOT NULL)
);

CREATE OR REPLACE FUNCTION eventstream_attach(
  ns text, me bigint, acknowledged bigint, known_epoch bigint, known_last bigint, known_mark bytea, fresh_epoch bigint,
  OUT log_epoch bigint, OUT log_last bigint, OUT log_mark bytea, OUT log_first bigint, OUT log_time timestamptz,
  OUT cause text
) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO eventstream_head VALUES (ns, 0, 0, '') ON CONFLICT DO NOTHING;
  SELECT epoch, last, mark INTO log_epoch, log_last, log_mark FROM eventstream_head WHERE namespace = ns FOR UPDATE;
  cause := CASE
    WHEN log_epoch = 0 THEN 'absent'
    WHEN log_last < known_last THEN 'regress'
    WHEN log_epoch <> known_epoch THEN NULL
    WHEN acknowledged > coalesce((SELECT number FROM eventstream_origin WHERE namespace = ns AND origin = me), 0)
      THEN 'publisher'
    -- NULL, which is no cause, if the entry has left the log at its beginning.
    WHEN known_mark <> CASE log_last WHEN known_last THEN log_mark
      ELSE (SELECT mark FROM eventstream_entry WHERE namespace = ns AND sequence = known_last) END THEN 'mark'
  END;
  IF cause IS NOT NULL THEN
    log_epoch := fresh_epoch;
    log_last := 1 + greatest(log_last, known_last, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
      (SELECT max(sequence) FROM eventstream_entry WHERE namespace = ns));
    log_mark := uuid_send(gen_random_uuid());
    DELETE FROM eventstream_entry WHERE namespace = ns;
    DELETE FROM eventstream_origin WHERE namespace = ns;
    INSERT INTO eventstream_entry (namespace, sequence, mark) VALUES (ns, log_last, log_mark);
    UPDATE eventstream_head SET epoch = log_epoch, last = log_last, mark = log_mark WHERE namespace = ns;
    PERFORM pg_notify('eventstream', ns);
  END IF;
  INSERT INTO eventstream_origin VALUES (ns, me, acknowledged, 0, now()) ON CONFLICT (namespace, origin)
    DO UPDATE SET number = greatest(eventstream_origin.number, acknowledged), seen = now();
  DELETE FROM eventstream_origin WHERE namespace = ns AND seen < now() - interval '2 days';
  log_first := (SELECT min(sequence) FROM eventstream_entry WHERE namespace = ns);
  log_time := clock_timestamp();
END $$;

-- Returns no row if the log has another epoch.
CREATE OR REPLACE FUNCTION eventstream_append(
  ns text, batch_epoch bigint, me bigint, first_number bigint, channels text[], payloads bytea[], max_entries bigint
) RETURNS TABLE (batch_last bigint, added bigint) LANGUAGE plpgsql AS $$
DECLARE
  log_last bigint;
  skipped bigint;
BEGIN
  SELECT last INTO log_last FROM eventstream_head WHERE namespace = ns AND epoch = batch_epoch FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT sequence, number - first_number + 1 INTO batch_last, skipped
    FROM eventstream_origin WHERE namespace = ns AND origin = me;
  skipped := greatest(skipped, 0);
  added := greatest(cardinality(channels) - skipped, 0);
  IF added > 0 THEN
    INSERT INTO eventstream_entry (namespace, sequence, origin, number, channel, payload)
      SELECT ns, log_last + i - skipped, me, first_number + i - 1, c, p
      FROM unnest(channels, payloads) WITH ORDINALITY AS draft (c, p, i) WHERE i > skipped;
    batch_last := log_last + added;
    UPDATE eventstream_head SET last = batch_last, mark = (
      SELECT mark FROM eventstream_entry WHERE namespace = ns AND sequence = batch_last) WHERE namespace = ns;
    INSERT INTO eventstream_origin VALUES (ns, me, first_number + cardinality(channels) - 1, batch_last, now())
      ON CONFLICT (namespace, origin)
      DO UPDATE SET number = excluded.number, sequence = excluded.sequence, seen = excluded.seen;
    -- Not in each append: a thousand entries at a time.
    IF log_last / 1000 < batch_last / 1000 THEN
      DELETE FROM eventstream_entry WHERE namespace = ns AND sequence <= batch_last - max_entries;
    END IF;
    PERFORM pg_notify('eventstream', ns);
  END IF;
  RETURN NEXT;
END $$;
