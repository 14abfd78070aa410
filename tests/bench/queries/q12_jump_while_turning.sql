-- On which maps do players jump while they turn the camera?
select e.map, count(*) as steps, sum(case when s.a and (s.right_x <> 5 or s.right_y <> 5) then 1 else 0 end) as turning
from steps s join episodes e on e.episode_id = s.episode_id
group by e.map
order by e.map
