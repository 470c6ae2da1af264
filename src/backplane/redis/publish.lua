-- Appends a batch once, as one entry: numbers that the origin has appended already are skipped.
--
-- KEYS log meta
-- ARGV epoch max_entries expiry origin first_number count block
--
-- The id of the entry is the sequence of its last draft. Field o is origin:first_number:count:milliseconds:term, and d
-- is the block, which has each draft as: length of the channel (1 byte), channel, length of the payload (4 bytes),
-- payload.
--
-- Returns { sequence of the batch's last draft, number of drafts added }, or one of these errors:
-- EPOCH  The log has another epoch. Attach, then send the same batch again.
-- HOLD   A term has just begun. Send the same batch again in some milliseconds.
local log, meta, field = KEYS[1], KEYS[2], 'p' .. ARGV[4]
local n, count, block = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local m, t = redis.call('HMGET', meta, 'e', 's', 'r', field, 'g'), redis.call('TIME')
local s = m[2] and tonumber(m[2])
if not s or not m[3] or m[1] ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (m[1] or 'none')) end
-- g: until when publishes wait for instances that may know of a loss. It is at most 2 s ahead, unless the clock was set.
local hold = m[5] and tonumber(m[5]) - (t[1] * 1000000 + t[2]) or 0
if hold > 0 and hold <= 2000000 then return redis.error_reply('HOLD a term begins') end
local function text(x) return string.format('%.0f', x) end
local done, at = string.match(m[4] or '0:0', '^(%d+):(%d+)')
done, at = tonumber(done), tonumber(at)
local skip = math.max(0, math.min(count, done - n + 1))
if skip < count then
  local from = 1
  for i = 1, skip do
    from = from + 1 + string.byte(block, from)
    local a, b, c, d = string.byte(block, from, from + 3)
    from = from + 4 + ((a * 256 + b) * 256 + c) * 256 + d
  end
  at = s + count - skip
  local mark = table.concat({ ARGV[4], text(n + skip), text(count - skip),
    text(t[1] * 1000 + math.floor(t[2] / 1000)), m[3] }, ':')
  -- The first write: if it is refused (OOM, ACL, READONLY), nothing has changed. A script that is stopped after it
  -- leaves a sequence that is not counted: Redis refuses the next append, because ids never repeat.
  redis.call('XADD', log, 'MINID', '~', text(math.max(0, at - ARGV[2] + 1)), text(at) .. '-0',
    'o', mark, 'd', from == 1 and block or string.sub(block, from))
  redis.call('HSET', meta, 's', text(at), field, text(n + count - 1) .. ':' .. text(at) .. ':' .. t[1])
end
redis.call('EXPIRE', log, ARGV[3])
redis.call('EXPIRE', meta, ARGV[3])
return { text(at), count - skip }
