-- How varied is the play of the players with the most episodes?
-- compare: sticks n
select e.player, count(distinct s.left_x * 1331 + s.left_y * 121 + s.right_x * 11 + s.right_y) as sticks, count(*) as n
from steps s join episodes e on e.episode_id = s.episode_id
where cast(e.player as int) between 100 and 200 and s.t < 1000
group by e.player
order by sticks desc, e.player
limit 50
