-- Preference pairs by a rule over outcomes: the synthetic labeller.
--
-- The rule: a trajectory that reached the pad $target beats every other. With $other_pads = 1, reaching another pad also
-- beats reaching none (a fall or a time-out); with 0 the rule does not decide between those, and they are not paired.
-- Of any other outcome, or an unknown one, the rule says nothing: such a trajectory is in no pair.
--
-- Balanced: each kind of contest (chosen outcome against rejected outcome) takes every trajectory of its smaller side
-- $pairs_per_trajectory times, and none takes more than its share of $max_pairs. No pair is drawn twice. A trajectory is
-- on one side of the split, and pairs are made within a side: a held-out pair shows two trajectories that training never
-- saw. Trajectories are shown by their last $length steps.
--
-- Inputs:
--   episodes     episode_id, num_steps, outcome: a rollout dataset's
-- Parameters:
--   $target = 'left'             ('left', 'middle', 'right') the pad that is wanted
--   $other_pads = 0              (0..1) 1: another pad beats none
--   $pairs_per_trajectory = 4    (1..) uses of a trajectory in one kind of contest
--   $max_pairs = 4000            (0..) pairs of both sides of the split together
--   $length = 32                 (1..) steps of a window
--   $split_seed = 1              as in splits.sql
--   $train_fraction = 0.8        (0..1) share of the trajectories to train on
-- Columns: pair_id, chosen_episode_id, chosen_t_start, chosen_length, chosen_outcome, rejected_episode_id, rejected_t_start, rejected_length, rejected_outcome, split
-- Order: pair_id

with judged as (
    select
        episode_id,
        outcome,
        cast(greatest(num_steps - $length, 0) as int) as t_start,
        cast(least(num_steps, $length) as int) as length,
        split_of(episode_id, $split_seed, $train_fraction) as split,
        case
            when outcome = $target then 2
            when outcome in ('left', 'middle', 'right') then $other_pads
            else 0
        end as preference
    from episodes
    where outcome in ('left', 'middle', 'right', 'fall', 'timeout') and num_steps > 0
),
-- Places from 0 in a shuffled order, within one outcome of one side.
placed as (
    select
        *,
        cast(row_number() over (
            partition by split, outcome order by shuffle_key(episode_id, $split_seed), episode_id
        ) as bigint) - 1 as place
    from judged
),
kinds as (
    select split, outcome, preference, count(*) as members
    from placed
    group by split, outcome, preference
),
contests as (
    select
        c.split,
        c.outcome as chosen_outcome,
        r.outcome as rejected_outcome,
        c.members as chosen_members,
        r.members as rejected_members,
        least(c.members, r.members) as smaller,
        count(*) over (partition by c.split) as contests
    from kinds as c
    join kinds as r on c.split = r.split
    where c.preference > r.preference
),
quotas as (
    select
        *,
        least(
            smaller * $pairs_per_trajectory,
            chosen_members * rejected_members,
            -- The held-out side is what the train side leaves: 1 - 0.8 is a hair less than 0.2.
            cast(
                case split
                    when 'train' then round($max_pairs * $train_fraction)
                    else $max_pairs - round($max_pairs * $train_fraction)
                end as bigint
            ) / contests
        ) as pairs
    from contests
),
slots as (
    select *, unnest(range(0, pairs)) as slot from quotas
),
-- Both sides are walked round and round. After lcm(members) steps the walk would repeat itself, so one side then slips by
-- one place: all chosen x rejected pairs come up before any comes twice.
drawn as (
    select
        split,
        chosen_outcome,
        rejected_outcome,
        slot % chosen_members as chosen_place,
        (slot + slot / lcm(chosen_members, rejected_members)) % rejected_members as rejected_place
    from slots
)
select
    cast(row_number() over (order by d.split, c.episode_id, r.episode_id) as bigint) - 1 as pair_id,
    c.episode_id as chosen_episode_id,
    c.t_start as chosen_t_start,
    c.length as chosen_length,
    c.outcome as chosen_outcome,
    r.episode_id as rejected_episode_id,
    r.t_start as rejected_t_start,
    r.length as rejected_length,
    r.outcome as rejected_outcome,
    d.split
from drawn as d
join placed as c on c.split = d.split and c.outcome = d.chosen_outcome and c.place = d.chosen_place
join placed as r on r.split = d.split and r.outcome = d.rejected_outcome and r.place = d.rejected_place
order by pair_id
