-- How varied is the play of each player?
-- compare: sticks n
select e.player,
    count(distinct cast(s.left_x as int) * 1331 + cast(s.left_y as int) * 121 + cast(s.right_x as int) * 11 + s.right_y) as sticks,
    count(*) as n
from steps s join episodes e on e.episode_id = s.episode_id
where e.episode_id between 10000 and 19999 and s.t < 1000
group by e.player
order by sticks desc, n desc
limit 50
