-- Frames a second between the shorter and the longer training of feed.toml, of the last run. $frames: how many there are between them.
select m.run, m.seconds - f.seconds as seconds, round($frames / (m.seconds - f.seconds)) as frames_per_second
from run_stages m join run_stages f on m.run_id = f.run_id and m.run = f.run
where m.stage = 'many' and f.stage = 'few' and m.state = 'done' and f.state = 'done'
  and m.run_id = (select max(run_id) from run_stages)
order by m.run
