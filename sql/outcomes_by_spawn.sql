-- How episodes end, by spawn: where success is easy and where it is missing.
--
-- `success` is a share of the episodes whose outcome is known: a pad, or none (a fall or a time-out). `unknown` counts the
-- others; human play often says nothing, and that is not a failure.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters: none
-- Columns: map, spawn, episodes, left, middle, right, none, unknown, success, low, high
-- Order: map, spawn

with counted as (
    select
        map,
        spawn,
        count(*) as episodes,
        count(*) filter (where outcome = 'left') as "left",
        count(*) filter (where outcome = 'middle') as middle,
        count(*) filter (where outcome = 'right') as "right",
        count(*) filter (where outcome in ('left', 'middle', 'right')) as successes,
        count(*) filter (where outcome in ('fall', 'timeout')) as none
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
    none,
    episodes - successes - none as unknown,
    cast(successes as double) / nullif(successes + none, 0) as success,
    wilson_low(successes, successes + none) as low,
    wilson_high(successes, successes + none) as high
from counted
order by map, spawn
