-- Session lengths as a histogram.
--
-- Inputs:
--   episodes     a dataset's episodes
-- Parameters:
--   $bin_seconds = 10.0     width of a bin
-- Columns: from_seconds, to_seconds, episodes, steps, hours
-- Order: from_seconds

with binned as (
    select floor(num_steps / cast(hz as double) / $bin_seconds) as bin, num_steps, hz
    from episodes
)
select
    bin * $bin_seconds as from_seconds,
    (bin + 1) * $bin_seconds as to_seconds,
    count(*) as episodes,
    sum(num_steps) as steps,
    sum(num_steps / cast(hz as double)) / 3600 as hours
from binned
group by bin
order by from_seconds
