-- Successes on one map that shoot seldom in their first minute: demonstrations for SFT.
with ok as (
    select episode_id, num_steps from episodes where outcome = 'left' and map = 'skygarden'
),
fights as (
    select s.episode_id, sum(cast(s.rt as int)) as shots, max(s.pos_z) as top
    from steps s join ok on ok.episode_id = s.episode_id
    where s.t < 600
    group by s.episode_id
)
select ok.episode_id, num_steps, shots
from ok join fights f on f.episode_id = ok.episode_id
where shots < 200
order by num_steps, ok.episode_id
limit 300
