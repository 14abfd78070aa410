//! Layer normalisation over the columns, eps 1e-5.

/// x[rows,cols], g[cols], b[cols] -> (y[rows,cols], mean[rows], rstd[rows]).
pub fn forward(x: &[f64], g: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let cols = g.len();
    let (mut y, mut means, mut rstds) = (Vec::new(), Vec::new(), Vec::new());
    for row in x.chunks_exact(cols) {
        let mean = row.iter().sum::<f64>() / cols as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / cols as f64;
        let rstd = 1.0 / (variance + 1e-5).sqrt();
        y.extend(row.iter().zip(g).zip(b).map(|((x, g), b)| (x - mean) * rstd * g + b));
        means.push(mean);
        rstds.push(rstd);
    }
    (y, means, rstds)
}

/// dy[rows,cols], x[rows,cols], g[cols], mean[rows], rstd[rows] -> (dx[rows,cols], dg[cols], db[cols]).
pub fn backward(dy: &[f64], x: &[f64], g: &[f64], mean: &[f64], rstd: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let cols = g.len();
    let (mut dx, mut dg, mut db) = (Vec::new(), vec![0.0; cols], vec![0.0; cols]);
    for (row, (dy, x)) in dy.chunks_exact(cols).zip(x.chunks_exact(cols)).enumerate() {
        let xh: Vec<f64> = x.iter().map(|x| (x - mean[row]) * rstd[row]).collect();
        let mean_g = (0..cols).map(|c| dy[c] * g[c]).sum::<f64>() / cols as f64;
        let mean_gx = (0..cols).map(|c| dy[c] * g[c] * xh[c]).sum::<f64>() / cols as f64;
        for c in 0..cols {
            dx.push(rstd[row] * (dy[c] * g[c] - mean_g - xh[c] * mean_gx));
            dg[c] += dy[c] * xh[c];
            db[c] += dy[c];
        }
    }
    (dx, dg, db)
}
