-- Returns the state of a log, and begins a new epoch if there is none or something that the caller knows is gone.
--
-- KEYS log meta
-- ARGV fresh_epoch expiry origin known_epoch acknowledged last last_mark   ('' and 0 are unknown)
--
-- last_mark is field o of the entry that has the sequence `last`, or '?:' .. term of the attach that returned `last`.
--
-- Returns { epoch, last sequence, first sequence or false, term, cause of a new epoch or '', seconds,
-- microseconds }. Sequences are texts: a script's numbers have no digits after the 15th.
--
-- Fields of meta: e epoch, s last sequence, r term, h ends of earlier terms, p<origin> number:sequence:seconds of
-- each publisher's last append, w and g see below.
local log, meta, field = KEYS[1], KEYS[2], 'p' .. ARGV[3]
local known, mark = ARGV[4], ARGV[7]
local acked, last = tonumber(ARGV[5]) or 0, tonumber(ARGV[6]) or 0
-- The first command is a write that full memory does not refuse. It fails with READONLY, NOREPLICAS or MISCONF before
-- anything is changed. After it, full memory refuses no write of this script.
redis.call('EXPIRE', meta, ARGV[2])
local function text(x) return string.format('%.0f', x) end
local function at(x) return x and tonumber(string.match(x[1], '^%d+')) end
-- The first sequence of an entry, which publish.lua describes. The one that begins an epoch has no count, and the count
-- of a foreign entry may be any.
local function first_of(x)
  local count = x and tonumber(string.match(x[2][2], '^%x+:%d+:(%d+):'))
  return x and at(x) + 1 - (count and count <= 1024 and count or 1)
end
local function edge(cmd, a, b) return redis.call(cmd, log, a, b, 'COUNT', 1)[1] end
local m, t = redis.call('HMGET', meta, 'e', 's', 'r', 'h', field, 'w', 'g'), redis.call('TIME')
local e, s, r, h, w, g = m[1], m[2] and tonumber(m[2]), m[3], m[4] or '', m[6] or '', m[7] or '0'
local micros = t[1] * 1000000 + t[2]
local done, seq = string.match(m[5] or '0:0', '^(%d+):(%d+)')
done = tonumber(done)
-- The term is the branch of the data's history that this server is on. It changes at every promotion and restart.
local info = redis.pcall('INFO', 'replication')
local now = type(info) == 'string' and string.match(info, 'master_replid:(%x%x%x%x%x%x%x%x)') or r or 'x'
local cause = ''
if not (e and s and r) then
  cause = 'absent'
elseif s < last then
  cause = 'regress'
else
  if r ~= now then
    -- The earlier term has ended at s. The last 32 ends are kept.
    h = h .. r .. '=' .. text(s) .. ' '
    local _, n = string.gsub(h, ' ', ' ')
    if n > 32 then h = string.match(h, '^%S+ (.*)$') end
    -- w: the origins that attached up to 12 s before the latest attach. Until each has attached again, or until the
    -- time g, publishes get HOLD, so that an instance that knows of a loss attaches before others publish.
    r, w, g = now, ' ', text(micros + 2000000)
    local seen, newest, all = {}, 0, redis.call('HGETALL', meta)
    for i = 1, #all, 2 do
      local x = string.sub(all[i], 1, 1) == 'p' and tonumber(string.match(all[i + 1], ':(%d+)$'))
      if x then seen[string.sub(all[i], 2)] = x; newest = math.max(newest, x) end
    end
    for origin, x in pairs(seen) do if x + 12 >= newest then w = w .. origin .. ' ' end end
  end
  if e == known then
    if done < acked then
      cause = 'publisher'
    elseif mark ~= '' and last > 0 then
      local term = string.match(mark, '%w*$')
      local ended = string.match(' ' .. h, ' ' .. term .. '=(%d+) ')
      if term ~= r and not (ended and last <= tonumber(ended)) then
        cause = 'term'
      elseif string.sub(mark, 1, 1) ~= '?' then
        local x = edge('XRANGE', ARGV[6] .. '-0', '+')
        if x and first_of(x) <= last and x[2][2] ~= mark then cause = 'mark' end
      end
    end
  end
end
w = string.gsub(w, ' ' .. ARGV[3] .. ' ', ' ')
local hold = tonumber(g) - micros
if w == ' ' or w == '' or hold < 0 or hold > 2000000 then w, g = '', '0' end
if cause ~= '' then
  s = math.max(micros, s or 0, last, at(edge('XREVRANGE', '+', '-')) or 0) + 1
  e, r, h, done, seq, w, g = ARGV[1], now, '', 0, '0', '', '0'
  if s > 9007199254740991 then return redis.error_reply('ERR no sequence is left above that of a foreign entry') end
  redis.call('UNLINK', log, meta)
  redis.call('XADD', log, text(s) .. '-0', 'e', e .. ':' .. r)
end
redis.call('HSET', meta, 'e', e, 's', text(s), 'r', r, 'h', h, 'w', w, 'g', g,
  field, text(math.max(done, acked)) .. ':' .. seq .. ':' .. t[1])
if redis.call('HLEN', meta) > 64 then
  -- Forgets publishers that have been silent for two days.
  local all = redis.call('HGETALL', meta)
  for i = 1, #all, 2 do
    local seen = string.sub(all[i], 1, 1) == 'p' and string.match(all[i + 1], ':(%d+)$')
    if seen and tonumber(seen) + 172800 < tonumber(t[1]) then redis.call('HDEL', meta, all[i]) end
  end
end
redis.call('EXPIRE', log, ARGV[2])
redis.call('EXPIRE', meta, ARGV[2])
local first = first_of(edge('XRANGE', '-', '+'))
return { e, text(s), first and text(first) or false, r, cause, t[1], t[2] }
