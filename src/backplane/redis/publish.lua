-- Appends a batch once: numbers that the origin has appended already are skipped.
--
-- KEYS log meta
-- ARGV epoch max_entries expiry origin first_number (channel payload)*
--
-- Returns { sequence of the batch's last draft, number of entries added }, or one of these errors:
-- EPOCH  The log has another epoch. Attach, then send the same batch again.
-- HOLD   A term has just begun. Send the same batch again in some milliseconds.
local log, meta, field = KEYS[1], KEYS[2], 'p' .. ARGV[4]
local m, t = redis.call('HMGET', meta, 'e', 's', 'r', field, 'g'), redis.call('TIME')
local s = m[2] and tonumber(m[2])
if not s or not m[3] or m[1] ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (m[1] or 'none')) end
-- g: until when publishes wait for instances that may know of a loss. It is at most 2 s ahead, unless the clock was set.
local hold = m[5] and tonumber(m[5]) - (t[1] * 1000000 + t[2]) or 0
if hold > 0 and hold <= 2000000 then return redis.error_reply('HOLD a term begins') end
local done, at = string.match(m[4] or '0:0', '^(%d+):(%d+)')
done, at = tonumber(done), tonumber(at)
local n = tonumber(ARGV[5])
local batch = (#ARGV - 5) / 2
local skip = math.max(0, math.min(batch, done - n + 1))
if skip < batch then
  at = s + batch - skip
  local ms = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
  for i = skip, batch - 1 do
    s = s + 1
    redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', s), 'o',
      ARGV[4] .. ':' .. string.format('%.0f', n + i) .. ':' .. m[3], 'c', ARGV[6 + 2 * i], 'd', ARGV[7 + 2 * i], 't', ms)
    -- Right after the first XADD: a refusal (OOM, ACL, READONLY) has then changed nothing. A script that is stopped
    -- later leaves a hole, which readers find, and never gives a sequence twice.
    if i == skip then
      redis.call('HSET', meta, 's', string.format('%.0f', at), field, string.format('%.0f:%.0f:%s', n + batch - 1, at, t[1]))
    end
  end
end
redis.call('EXPIRE', log, ARGV[3])
redis.call('EXPIRE', meta, ARGV[3])
return { string.format('%.0f', at), batch - skip }
