-- How do episodes end on each map, and how long are they?
select map, outcome, count(*) as n, avg(num_steps) as steps from episodes group by map, outcome order by map, outcome
