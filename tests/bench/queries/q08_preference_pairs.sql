-- Preference pairs: one that took the wanted pad beside one of the same map that did not.
with r as (
    select episode_id, player, outcome, row_number() over (partition by map, outcome order by episode_id) as k, map
    from episodes
)
select a.episode_id as chosen, b.episode_id as rejected
from r a join r b on a.k = b.k and a.map = b.map and a.outcome = 'left' and b.outcome <> 'left'
order by chosen, rejected
limit 10000
