-- Counts a batch of hits against both limits, each client's own first: one atomic call for all of them.
--
-- KEYS[1]    the window of all clients together
-- KEYS[1+i]  the window of the client of hit i
-- ARGV[1]    limit of all clients, ARGV[2] limit of one client, per second
-- ARGV[2+i]  weight of hit i
--
-- Returns four integers for each hit, in one string, as a reply of one piece costs the client least to read:
--   1 allowed, 0 refused by the client's limit, 2 refused by that of all
--   previous and current count of the window that decided (for an allowed hit: of all clients), this hit included
--   microseconds left of its current second
--
-- A window is a string "<second> <current> <previous>", gone two seconds after its last hit. The arithmetic is that of
-- window_storage.py, the clock is Redis's own. Where that clock was set back by less than a second or two, as after a
-- failover, a window stays in the second it had reached; else it starts anew.

local time = redis.call('TIME')
local second = tonumber(time[1])
local micros = tonumber(time[2])
local windows = {}

local function window_of(key)
    local window = windows[key]
    if window then return window end
    window = {second = second, current = 0, previous = 0, passed = micros / 1000000, left = 1000000 - micros}
    local stored = redis.call('GET', key)
    if stored then
        local at, current, previous = string.match(stored, '^(%d+) (%d+) (%d+)$')
        at, current, previous = tonumber(at), tonumber(current), tonumber(previous)
        if at == second then
            window.current, window.previous = current, previous
        elseif at == second - 1 then
            window.previous = current
        elseif at == second + 1 then
            window.second, window.passed, window.left = at, 0, 1000000
            window.current, window.previous = current, previous
        end
    end
    windows[key] = window
    return window
end

local function count(window, limit, weight)
    local weighted = math.floor(window.previous * (1 - window.passed) + window.current)
    if weight > limit or weighted + weight > limit then return false end
    window.current = window.current + weight
    window.changed = true
    return true
end

local all = window_of(KEYS[1])
local limit_of_all, limit_of_one = tonumber(ARGV[1]), tonumber(ARGV[2])
local answers = {}
for i = 1, #KEYS - 1 do
    local weight = tonumber(ARGV[2 + i])
    local own = window_of(KEYS[1 + i])
    local outcome, decided = 0, own
    if count(own, limit_of_one, weight) then
        decided = all
        outcome = count(all, limit_of_all, weight) and 1 or 2
    end
    answers[i] = string.format('%d %d %d %d', outcome, decided.previous, decided.current, decided.left)
end

for key, window in pairs(windows) do
    if window.changed then
        local stored = string.format('%d %d %d', window.second, window.current, window.previous)
        redis.call('SET', key, stored, 'PX', 3000)
    end
end
return table.concat(answers, ' ')
