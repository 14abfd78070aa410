-- How varied is the play of the players with the most episodes?
select e.player_id, count(distinct s.left_x * 1331 + s.left_y * 121 + s.right_x * 11 + s.right_y) as sticks, count(*) as n
from steps s join episodes e on e.episode_id = s.episode_id
where e.player_id between 100 and 200 and s.t < 1000
group by e.player_id
order by sticks desc, e.player_id
limit 50
