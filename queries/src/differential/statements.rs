//! A dataset, and statements to ask of it: of this crate, and of a cluster.

use std::path::Path;

use playhouse_schemas::{ActionSource, ActionSpace, Dataset, DatasetSpec, Episode, Pose};

/// Forty episodes in three parts; some have no positions, some ids are missing, lengths go from 1 to 400.
pub(crate) fn dataset(root: &Path) {
    let actions = ActionSpace::gamepad();
    let dataset = Dataset::create(root, &DatasetSpec { actions: actions.clone(), frames: None }).unwrap();
    let mut writer = dataset.writer().unwrap();
    let mut state = 88172645463325252u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for id in 0..40i64 {
        let steps = [1, 2, 17, 400, 63][id as usize % 5];
        // Each component is held for some steps, as buttons are.
        let mut held = vec![0u8; actions.len()];
        let played = (0..steps).flat_map(|_| {
            for (value, cardinality) in held.iter_mut().zip(actions.cardinalities()) {
                if draw(4) == 0 {
                    *value = if draw(2) == 0 { (cardinality / 2) as u8 } else { draw(cardinality as u64) as u8 };
                }
            }
            held.clone()
        });
        let played: Vec<u8> = played.collect();
        let pose = |t: usize| Pose { x: t as f32 * 0.25, y: (t % 9) as f32, z: (id % 4) as f32, yaw: 0.0, pitch: 0.5 };
        let poses = if id % 3 == 0 { Vec::new() } else { (0..steps).map(pose).collect() };
        writer
            .push(Episode {
                episode_id: id * 3,
                source: "test".into(),
                map: Some(["skygarden", "canyon"][id as usize % 2].into()),
                player: None,
                policy: None,
                spawn: None,
                outcome: Some(["left", "right", "fall"][id as usize % 3].into()),
                split: None,
                action_source: ActionSource::Human,
                seed: None,
                hz: 10.0,
                episode_return: None,
                started_at: None,
                actions: played,
                poses,
                rewards: Vec::new(),
                terminated: true,
                truncated: false,
                frames: Vec::new(),
            })
            .unwrap();
        if id % 15 == 14 {
            writer.flush().unwrap();
        }
    }
    writer.finish().unwrap();
}

const IDLE: &str = "not a and not b and not x and not y and not lb and not rb and not lt and not rt and not dpad_up \
    and not dpad_down and not l3 and not r3 and left_x = 5 and left_y = 5 and right_x = 5 and right_y = 5";

/// Statements whose rows come in a defined order.
pub(crate) fn statements() -> Vec<String> {
    let plain = [
        // Sets and joins of which a cluster must not make more rows, or fewer.
        "select map from episodes where outcome = 'left' intersect select map from episodes where num_steps > 20 order by 1",
        "select episode_id from episodes where outcome = 'fall' intersect select episode_id from episodes where num_steps > 20 order by 1 limit 3",
        "select episode_id from episodes where outcome = 'fall' except select episode_id from episodes where num_steps > 20 order by 1 limit 3",
        "select count(*) from (select map, outcome from episodes intersect select map, outcome from episodes)",
        "select episode_id from steps where a intersect select episode_id from episodes where outcome = 'left' order by 1",
        "select episode_id from episodes except select episode_id from steps where a order by 1",
        "select map as k, count(*) as n from episodes group by map union select 'x', null order by 1",
        "select map as k, count(*) as n from steps join episodes using (episode_id) group by map union all select 'x', null order by 1",
        "select count(*) from episodes e full outer join (select * from steps where t = 50) s using (episode_id) where e.episode_id is null or s.t is null",
        "select map, max(c) as most from (select episode_id, sum(a::int) as c from steps group by episode_id) s join episodes using (episode_id) \
            group by map having max(c) > (select avg(num_steps) / 100 from episodes) order by 1",
        "select count(*) from episodes e left join (select distinct episode_id from steps where x and y) s using (episode_id) where s.episode_id is null",
        "select count(*) from episodes e where exists (select 1 from steps s where s.episode_id = e.episode_id and s.t > 60 and s.a)",
        "select count(*) from episodes e where not exists (select 1 from steps s where s.episode_id = e.episode_id and s.t > 60 and s.a)",
        "select count(*) from steps s where s.episode_id not in (select episode_id from episodes where outcome = 'left')",
        "select map, (select count(*) from steps s where s.episode_id = e.episode_id and s.a) as n from episodes e order by e.episode_id",
        // Scans.
        "select * from steps order by episode_id, t",
        "select t, right_y, b, a, episode_id from steps where episode_id = 6 and t between 8 and 11 order by t",
        "select episode_id, t from steps where t >= 399 or episode_id < 9 order by 1, 2",
        "select episode_id, t, pos_x from steps where t in (3, 5, 390) and episode_id % 2 = 0 order by 1, 2",
        "select count(*), min(t), max(t), min(episode_id), max(episode_id), count(pos_x) from steps",
        "select count(*) from steps where t < 0",
        "select count(*), sum(t) from steps where episode_id > 5 and 10 > t and t > 2",
        "select count(*), sum(t) from steps where episode_id in (0, 2, 3, 15) and pos_y > 3",
        "select count(*) from steps where pos_x > 20 and t <= 90 and episode_id between 0 and 70",
        "select episode_id, t, a, lt from steps where a and not lt order by episode_id, t",
        "select episode_id, t from steps where episode_id = t order by 1",
        "select t, count(*) from steps where t < 3 group by t order by t",
        "select count(*) from (select * from steps limit 70)",
        "select count(*) from (select a from steps where episode_id > 20 limit 1)",
        "select episode_id, t from steps order by episode_id desc, t limit 7",
        // Group-bys over episodes.
        "select episode_id, count(*) as n from steps group by episode_id order by episode_id",
        "select episode_id, sum(left_x), max(pos_x), min(pos_y), count(pos_z), avg(right_y) from steps group by 1 order by 1",
        "select episode_id, count(*) filter (where rt), sum(t) filter (where lb) from steps group by 1 order by 1",
        "select episode_id, count(distinct left_x), array_agg(left_y order by t) from steps group by 1 order by 1",
        "select e, count(*) from (select episode_id as e, t from steps where t > 15) group by e order by e",
        "select episode_id / 7 as k, count(*), sum(t) from steps group by k order by k",
        "select episode_id, t / 10 as k, count(*) from steps group by episode_id, k order by 1, 2",
        "select episode_id, approx_distinct(left_x), stddev(right_x) from steps group by 1 order by 1",
        "select a, b, left_x, count(*) from steps group by a, b, left_x order by 1, 2, 3",
        "select left_x, left_y, right_x, right_y, a, rt, count(*), sum(t), min(pos_x), avg(t) from steps group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6",
        "select left_x, b, count(*) filter (where a), max(t) filter (where rt), rate from (select left_x, b, a, rt, t, 1 as rate from steps where t > 5) group by left_x, b, rate order by 1, 2",
        "select right_y, count(distinct left_x), approx_distinct(t), round(stddev(t), 9) from steps group by right_y order by 1",
        "select distinct left_x, a from steps order by 1, 2",
        "select left_x + 1 as k, not a as up, count(*) from steps group by 1, 2 order by 1, 2",
        "select o.left_x, s.a, count(*) from steps s left join steps o on s.episode_id = o.episode_id and s.t = o.t + 1 group by 1, 2 order by 1, 2",
        "select left_x, grouping(left_x), count(*) from steps group by rollup (left_x) order by 1, 2",
        "select episode_id, first_value(left_x order by t), last_value(left_x order by t) from steps group by 1 order by 1",
        // Conditions counted.
        "select avg(cast(a as int)), sum(cast(b as int)), sum(cast(x as bigint)), avg(cast(y as double)) from steps",
        "select sum(cast(a as int)), avg(cast(a as int)) from steps where t < 0",
        "select episode_id, sum(cast(a as int)), avg(cast(left_x > 5 as int)) from steps group by 1 order by 1",
        "select sum(case when pos_x > 10 then 1 else 0 end), avg(case when pos_x > 10 then 1.0 else 0.0 end) from steps",
        "select sum(cast(pos_x > 10 as int)), avg(cast(pos_x > 10 as int)) from steps",
        "select episode_id, avg(cast(pos_x > 10 as int)), sum(cast(pos_x > 10 as int)) from steps group by 1 order by 1",
        "select sum(cast(a as int)) filter (where b), avg(cast(nullif(a, x) as int)) filter (where y) from steps",
        "select sum(distinct cast(a as int)), sum(case when a then 2 else 0 end), avg(case when a then 1 end) from steps",
        "select left_x, sum(cast(a as int)), avg(case when b then 1 else 0 end) from steps group by 1 order by 1",
        "select map, sum(cast(a as int)) as n from steps join episodes using (episode_id) group by map having sum(cast(a as int)) > 3 order by map",
        "select e.map, count(*), count(s.pos_x), sum(s.left_x), avg(s.left_x), avg(s.pos_x), min(s.pos_y), max(s.t) from steps s join episodes e on e.episode_id = s.episode_id group by e.map order by 1",
        "select e.map, e.num_steps > 50, avg(cast(s.a as int)), avg(case when s.left_y > 5 then 1.0 else 0.0 end) filter (where s.rt), sum(s.pos_z) filter (where s.b), count(*) filter (where s.x) from episodes e join steps s on e.episode_id = s.episode_id where s.t < 200 group by 1, 2 order by 1, 2",
        "select count(*), count(s.pos_x), sum(s.left_x), avg(s.pos_x), avg(cast(s.a as int)) from steps s join episodes e on e.episode_id = s.episode_id where e.map = 'nowhere'",
        "select upper(e.map) as m, sum(s.t) from steps s join (select * from episodes union all select * from episodes where num_steps < 50) e on e.episode_id = s.episode_id group by 1 order by 1",
        "select e.map, count(distinct s.left_x), cast(stddev(s.left_y) * 1000 as int) from steps s join episodes e on e.episode_id = s.episode_id group by 1 order by 1",
        "select e.map, s.a, count(*) from steps s join episodes e on e.episode_id = s.episode_id group by 1, 2 order by 1, 2",
        "select e.map, sum(s.t * e.num_steps) from steps s join episodes e on e.episode_id = s.episode_id group by 1 order by 1",
        "select e.map, count(*) from steps s join episodes e on e.episode_id = s.episode_id and s.t < e.num_steps / 2 group by 1 order by 1",
        "select count(*), max(o.t) from steps s join steps o on s.episode_id = o.episode_id where s.t < 3",
        "select cast(floor((pos_y - 4) / 3) as int) as cell, cast(floor(t / 60.0) as bigint) as minute, count(*), sum(left_x) from steps group by 1, 2 order by 1, 2",
        "select t - 1000000 as k, buttons, count(*), avg(left_y) from steps where t < 20 group by 1, 2 order by 1, 2",
        "select cast(t as bigint) * 1000000007 as k, count(*), sum(left_x) from steps group by 1 order by 1",
        "select episode_id, t from steps where l3 and r3 and not a and left_x = 5 order by 1, 2",
        "select left_x, count(*) from steps where a and a and not (b or x) and left_y >= 5 group by 1 order by 1",
        // Input that is sorted by one of the keys.
        "select num_steps, episode_id, count(*) from episodes group by 1, 2 order by 1, 2",
        "select left_x, episode_id, count(*), max(t) from steps group by 1, 2 order by 1, 2",
        "select episode_id, count(*) from (select * from episodes order by episode_id desc limit 30) group by 1 order by 1",
        "select k, count(*), sum(t) from (select -episode_id as k, t from steps) group by 1 order by 1",
        "select -episode_id as k, count(*), sum(t) from steps group by 1 order by 1 desc",
        "select left_x, episode_id + 1 as k, count(*), sum(t) from steps group by 1, 2 order by 2, 1",
        // Lags.
        "select episode_id, t, lag(left_x) over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(a, 1, false) over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(left_y, 5) over w, lag(pos_x, 2, -1) over w, lag(t, 0) over w from steps window w as (partition by episode_id order by t) order by 1, 2",
        "select episode_id, t, lag(pos_x, 1, 0) over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(pos_x) ignore nulls over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(left_x) over (partition by episode_id order by t desc) from steps order by 1, 2",
        "select episode_id, t, lead(left_x) over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(left_x, 900) over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, t, lag(t) over (order by episode_id, t), row_number() over (partition by episode_id order by t) from steps order by 1, 2",
        "select episode_id, sum(case when a and not prev then 1 else 0 end) as presses from (select episode_id, a, lag(a, 1, false) over (partition by episode_id order by t) as prev from steps) group by episode_id order by 1",
        "select episode_id, sum(sqrt((pos_x - px) * (pos_x - px))) as d from (select episode_id, pos_x, lag(pos_x) over (partition by episode_id order by t) as px from steps) group by episode_id order by 1",
        // Joins, which must not take ranges of episodes for a hash of them.
        "select s.episode_id, count(*) from steps s join steps o on s.episode_id = o.episode_id and s.t = o.t + 1 group by 1 order by 1",
        "select count(*), sum(s.t) from steps s join episodes e on e.episode_id = s.episode_id where e.outcome = 'left' and s.t < 60",
        "select count(*), sum(s.t) from steps s left join episodes e on e.episode_id = s.episode_id and e.map = 'canyon'",
        "select e.episode_id, count(s.t) from episodes e left join steps s on s.episode_id = e.episode_id and s.t > 100 group by 1 order by 1",
        "select count(*) from (select episode_id, count(*) as n from steps group by episode_id) g join (select episode_id, sum(t) as m from steps where a group by episode_id) h on g.episode_id = h.episode_id",
        "select count(*) from (select episode_id, count(*) as n from steps group by episode_id) g full join (select left_x as k, count(*) as m from steps group by left_x) h on g.episode_id = h.k",
        "select g.episode_id, n, num_steps from (select episode_id, count(*) as n from steps group by episode_id) g join episodes e on e.episode_id = g.episode_id order by 1",
        "select count(*) from steps where episode_id in (select episode_id from episodes where outcome = 'fall') and t < 10",
        "select count(*) from steps s where exists (select 1 from episodes e where e.episode_id = s.episode_id and e.num_steps > 100)",
        "select count(*) from steps where episode_id not in (select episode_id from episodes where map = 'canyon')",
        "select count(*) from steps where episode_id = (select max(episode_id) from episodes)",
        "select episode_id, n from (select episode_id, count(*) as n from steps where episode_id < 30 group by episode_id union all select episode_id, count(*) from steps where episode_id >= 30 group by episode_id) order by 1",
    ];
    let mut all: Vec<String> = plain.iter().map(|sql| (*sql).to_owned()).collect();
    all.push(format!(
        "select episode_id, avg(case when {IDLE} then 1.0 else 0.0 end) as idle from steps group by 1 order by 1"
    ));
    all.push(format!("select count(*), sum(t) from steps where {IDLE}"));
    for sql in [
        "select s.a and not s.b and s.x, o.a or o.b or o.y, s.t from steps s join steps o on s.episode_id = o.episode_id and s.t = o.t + 1 where s.episode_id = 9 order by s.t",
        "select count(*) from (select not a as a, b, x from steps) as steps where a and not b and not x",
        "select count(*) from (select not a as a, b, x, buttons from steps) as steps where a and not b and not x",
        "select count(*), sum(left_x) from steps where a and not a",
        "select count(*) from steps s where (s.a or s.rt or s.dpad_up or not s.b) and (s.lb and s.rb or s.l3 and s.r3)",
        "select e.episode_id, count(*) filter (where s.a or s.b), count(*) filter (where not s.a and not s.b) from episodes e left join steps s on s.episode_id = e.episode_id and s.t > 100 group by 1 order by 1",
        "select episode_id, t, sum(case when a or b or left_x <> 5 then 1 else 0 end) over (partition by episode_id order by t) from steps order by 1, 2",
        "select a and b as both, count(*) from steps group by a and b order by 1",
        "select a, count(*) from steps where x or y group by a having count(*) filter (where lb and not rb) > 0 order by 1",
        "with s as (select * from steps where a and not b and not x) select count(*), sum(t) from s where y or lb",
    ] {
        all.push(sql.to_owned());
    }
    all.push("select count(*) from steps where a or b or (x and not y) or left_x <> 5".to_owned());
    all
}

/// Our functions, and what they stand for in plain SQL.
pub(crate) fn functions() -> Vec<(String, String)> {
    // Steps in their order, with the step before.
    let steps = "(select *, lag(a, 1, false) over w as a_before, lag(pos_x) over w as px, lag(pos_y) over w as py from steps \
        window w as (partition by episode_id order by t))";
    let runs = "(select episode_id, count(*) as n from (select episode_id, t - row_number() over (partition by episode_id \
        order by t) as run from steps where b) group by episode_id, run)";
    let scattered = "(select * from steps order by left_x, right_y, t % 7)";
    let path = "sum(sqrt((pos_x - px) * (pos_x - px) + (pos_y - py) * (pos_y - py)))";
    vec![
        (
            "select episode_id, presses(a, t) from steps group by 1 order by 1".to_owned(),
            format!("select episode_id, count(*) filter (where a and not a_before) from {steps} group by 1 order by 1"),
        ),
        (
            format!("select episode_id, presses(a, t), presses(left_x > 5, t) is null from {scattered} group by 1 order by 1"),
            format!("select episode_id, count(*) filter (where a and not a_before), false from {steps} group by 1 order by 1"),
        ),
        (
            "select map, sum(n) from (select map, presses(a, t) as n from steps join episodes using (episode_id) group by \
             map, episode_id) group by map order by map"
                .to_owned(),
            format!("select map, count(*) filter (where a and not a_before) from {steps} join episodes using (episode_id) group by map order by map"),
        ),
        (
            "select episode_id, round(path_length(pos_x, pos_y, t), 3) from steps group by 1 order by 1".to_owned(),
            format!("select episode_id, round(cast({path} as double), 3) from {steps} group by 1 order by 1"),
        ),
        (
            format!("select episode_id, round(path_length(pos_x, pos_y, t), 3) from {scattered} group by 1 order by 1"),
            format!("select episode_id, round(cast({path} as double), 3) from {steps} group by 1 order by 1"),
        ),
        (
            "select episode_id, longest_run(b, t) as n from steps group by 1 having n > 0 order by 1".to_owned(),
            format!("select episode_id, max(n) from {runs} group by 1 order by 1"),
        ),
        (
            format!("select episode_id, longest_run(b, t) as n from {scattered} group by 1 having n > 0 order by 1"),
            format!("select episode_id, max(n) from {runs} group by 1 order by 1"),
        ),
        (
            "select episode_id, idle_fraction(buttons, left_x, left_y, right_x, right_y) from steps group by 1 order by 1".to_owned(),
            format!("select episode_id, avg(case when {IDLE} then 1.0 else 0.0 end) from steps group by 1 order by 1"),
        ),
        (
            // A part of the rows, nulls among them, all in one group.
            "select idle_fraction(nullif(buttons, 4), left_x, nullif(left_y, 4), right_x, 5) filter (where t > 3) from steps".to_owned(),
            "select avg(cast(nullif(buttons, 4) = 0 and left_x = 5 and nullif(left_y, 4) = 5 and right_x = 5 as int)) \
             from steps where t > 3".to_owned(),
        ),
        (
            "select left_x, rate(a) as a, idle_fraction(buttons, 5, left_y, right_x, right_y) as i from steps group by 1 order by 1".to_owned(),
            "select left_x, avg(cast(a as int)), avg(cast(buttons = 0 and left_y = 5 and right_x = 5 and right_y = 5 as int)) \
             from steps group by 1 order by 1".to_owned(),
        ),
        (
            "select episode_id, round(action_entropy(buttons, left_x, left_y, right_x, right_y), 9) from steps group by 1 order by 1".to_owned(),
            entropy("buttons, left_x, left_y, right_x, right_y", "episode_id", "steps"),
        ),
        (
            format!("select left_x, round(action_entropy(a, b, left_y), 9) from {scattered} group by 1 order by 1"),
            entropy("a, b, left_y", "left_x", "steps"),
        ),
        (
            "select b, round(action_entropy(cast(nullif(left_y, 3) as smallint), t) filter (where a), 9) from steps group by 1 order by 1".to_owned(),
            entropy("left_y, t", "b", "(select * from steps where a and left_y <> 3)"),
        ),
        (
            "select round(action_entropy(left_x), 9), round(action_entropy(cast(left_x as bigint) - 100), 9) from steps".to_owned(),
            format!("select h as one, h as other from ({})", entropy("left_x", "1", "steps")),
        ),
        (
            "select episode_id, held_for(b, t) as n from steps group by 1 having n > 0 order by 1".to_owned(),
            format!("select episode_id, avg(n) from {runs} group by 1 order by 1"),
        ),
        (
            format!("select episode_id, held_for(b, t) as n from {scattered} group by 1 having n > 0 order by 1"),
            format!("select episode_id, avg(n) from {runs} group by 1 order by 1"),
        ),
        (
            // What a growing window sees at each step.
            "select episode_id, t, rate(a) over w, count_true(b) over w, presses(a, t) over w from steps where episode_id < 20 \
             window w as (partition by episode_id order by t) order by 1, 2".to_owned(),
            format!("select episode_id, t, avg(cast(a as int)) over w, sum(cast(b as int)) over w, sum(case when a and not a_before \
                then 1 else 0 end) over w from {steps} where episode_id < 20 window w as (partition by episode_id order by t) order by 1, 2"),
        ),
        (
            "select count_true(a), rate(a), rate(pos_x > 3) filter (where b) from steps".to_owned(),
            "select sum(cast(a as int)), avg(cast(a as int)), avg(cast(pos_x > 3 as int)) filter (where b) from steps".to_owned(),
        ),
    ]
}

/// The entropy `h` of the joint values of `components` in the groups of `by`, in plain SQL.
fn entropy(components: &str, by: &str, table: &str) -> String {
    format!(
        "select k, round(sum(n / total * log2(total / n)), 9) as h from (select k, cast(n as double) as n, sum(cast(n as double)) over \
         (partition by k) as total from (select {by} as k, count(*) as n from {table} group by {by}, {components})) group by k order by k"
    )
}
