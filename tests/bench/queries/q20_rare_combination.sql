-- Where does a rare combination of inputs occur?
select episode_id, t
from steps
where l3 and r3 and lt and left_y = 10 and not rt
order by episode_id, t
limit 1000
