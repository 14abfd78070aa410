-- How episodes end, by spawn: where success is easy and where it is missing.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters: none
-- Columns: map, spawn, episodes, left, middle, right, none, success, low, high
-- Order: map, spawn

with counted as (
    select
        map,
        spawn,
        count(*) as episodes,
        count(*) filter (where outcome = 'left') as "left",
        count(*) filter (where outcome = 'middle') as middle,
        count(*) filter (where outcome = 'right') as "right",
        count(*) filter (where outcome in ('left', 'middle', 'right')) as successes
    from episodes
    group by map, spawn
)
select
    map,
    spawn,
    episodes,
    "left",
    middle,
    "right",
    episodes - successes as none,
    cast(successes as double) / episodes as success,
    wilson_low(successes, episodes) as low,
    wilson_high(successes, episodes) as high
from counted
order by map, spawn
