-- In which episodes does the player climb highest and turn back?
-- compare: top
select s.episode_id, max(s.pos_z) as top, min(s.pos_z) as bottom
from steps s join episodes e on e.episode_id = s.episode_id
where e.outcome = 'right' and e.map = 'boneyard'
group by s.episode_id
order by top desc, s.episode_id
limit 100
