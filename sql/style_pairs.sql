-- Preference pairs about how one plays and not about where one goes: who does not jump beats who does.
--
-- Windows of $length steps, cut one after another from every trajectory; a window in which the jump button is never pressed beats one
-- in which it is pressed, whatever becomes of either. A trajectory is on one side of the split. Each window is in at most one pair.
--
-- Inputs:
--   steps     episode_id, t, a (the jump button): a dataset's
-- Parameters:
--   $length = 32             (2..) steps of a window
--   $max_pairs = 2000        (0..) pairs of each side of the split
--   $split_seed = 1          as in splits.sql
--   $train_fraction = 0.8    (0..1) share of the trajectories to train on
-- Columns: pair_id, chosen_episode_id, chosen_t_start, chosen_length, rejected_episode_id, rejected_t_start, rejected_length, split
-- Order: pair_id

with cut as (
    select
        episode_id,
        cast(t / $length as int) * $length as t_start,
        count(*) as length,
        count(*) filter (where a) as jumps
    from steps
    group by episode_id, cast(t / $length as int)
    having count(*) = $length
),
placed as (
    select
        episode_id,
        t_start,
        cast(length as int) as length,
        jumps > 0 as jumped,
        split_of(episode_id, $split_seed, $train_fraction) as split,
        row_number() over (
            partition by split_of(episode_id, $split_seed, $train_fraction), jumps > 0
            order by shuffle_key(episode_id, $split_seed), t_start
        ) as place
    from cut
)
select
    cast(row_number() over (order by c.split, c.place) as bigint) - 1 as pair_id,
    c.episode_id as chosen_episode_id,
    c.t_start as chosen_t_start,
    c.length as chosen_length,
    r.episode_id as rejected_episode_id,
    r.t_start as rejected_t_start,
    r.length as rejected_length,
    c.split
from placed as c
join placed as r on r.split = c.split and r.place = c.place and r.jumped
where not c.jumped and c.place <= $max_pairs
order by pair_id
