-- How episodes end, by map, with 95% intervals.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters: none
-- Columns: map, outcome, episodes, share, low, high
-- Order: map, episodes descending, outcome

with counted as (
    select
        map,
        coalesce(outcome, 'unknown') as outcome,
        count(*) as episodes,
        sum(count(*)) over (partition by map) as total
    from episodes
    group by map, coalesce(outcome, 'unknown')
)
select
    map,
    outcome,
    episodes,
    cast(episodes as double) / total as share,
    wilson_low(episodes, total) as low,
    wilson_high(episodes, total) as high
from counted
order by map, episodes desc, outcome
