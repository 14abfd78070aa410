-- Which side of the training split every episode is on.
--
-- By a hash of the id: an episode keeps its side when others are added or removed. The other texts apply the same rule
-- themselves; this one is for looking at it and for joining.
--
-- Inputs:
--   episodes     episode_id, num_steps
-- Parameters:
--   $split_seed = 1          another seed, another split
--   $train_fraction = 0.9    (0..1) share of episodes to train on
-- Columns: episode_id, num_steps, split
-- Order: episode_id

select episode_id, num_steps, split_of(episode_id, $split_seed, $train_fraction) as split
from episodes
order by episode_id
