-- Is a step missing anywhere?
select count(*) as episodes
from (select episode_id, count(*) as n, max(t) as last from steps group by episode_id)
where n <> last + 1
