-- Windows that end an episode: the last 32 steps of those that failed on one map.
select s.episode_id, s.t, s.left_x, s.left_y, s.pos_x, s.pos_y, s.pos_z
from steps s join episodes e on e.episode_id = s.episode_id
where e.outcome = 'none' and e.map = 'grid' and s.t >= e.num_steps - 32
order by s.episode_id, s.t
limit 20000
