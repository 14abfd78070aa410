-- Who holds the trigger longest?
select episode_id, longest_run(rt, t) as longest
from steps
where episode_id between 30000 and 34999
group by episode_id
order by longest desc, episode_id
limit 100
