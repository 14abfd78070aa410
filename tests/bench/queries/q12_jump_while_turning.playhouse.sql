-- On which maps do players jump while they turn the camera?
select e.map, count(*) as steps, count_true(s.a and (s.right_x <> 5 or s.right_y <> 5)) as turning
from steps s join episodes e on e.episode_id = s.episode_id
group by e.map
order by e.map
