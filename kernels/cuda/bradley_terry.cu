// The reward model's loss on pairs, forward and backward in one pass.
//
//   d = chosen - rejected;  s = 1 / (1 + e^-d)
//   loss = -label ln s(d) - (1 - label) ln s(-d) + centering (chosen + rejected)^2
//   dscores = the gradient of the mean of loss over the pairs
//
// scores, dscores: fp32 [P,2]. label, loss: fp32 [P]. A thread is a pair: a batch has tens to hundreds of them.
//
// Precision: fp32. ln(1 + e^x) is written without overflow.
#include "device.cuh"

INLINE float softplus(float x) { return fmaxf(x, 0) + log1pf(expf(-fabsf(x))); }

KERNEL(bradley_terry, 128)(const float* scores, const float* label, float centering, float* dscores, float* loss, int pairs) {
    const int i = block() * 128 + thread();
    if (i >= pairs) {
        return;
    }
    const float chosen = scores[2 * i], rejected = scores[2 * i + 1], wanted = label[i];
    const float d = chosen - rejected, sum = chosen + rejected;
    loss[i] = wanted * softplus(-d) + (1 - wanted) * softplus(d) + centering * sum * sum;
    const float slope = 1 / (1 + expf(-d)) - wanted, centre = 2 * centering * sum;
    dscores[2 * i] = (slope + centre) / pairs;
    dscores[2 * i + 1] = (centre - slope) / pairs;
}
REGISTER(bradley_terry)
