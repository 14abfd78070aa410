-- How long are the episodes of a map in which a trigger was held so many steps?
select e.map, s.outcome_n, avg(s.n) as steps
from (select episode_id, count(*) as n, count_true(rt) as outcome_n from steps group by episode_id) s
join episodes e on e.episode_id = s.episode_id
group by e.map, s.outcome_n
order by 3 desc
limit 20
