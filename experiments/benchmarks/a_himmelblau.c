/* Plain gradient descent on Himmelblau's function from every point of a grid.

A lane stops where max |gradient| <= tol, or at its last finite point. Lanes are neighbours in an
8 x 8 patch of the grid, whose state stays in the first-level cache, eight of them to a vector. */

#include <math.h>
#include <stdint.h>

#define EDGE 8
#define LANES (EDGE * EDGE)

static inline float value_and_gradient(float x, float y, float *gx, float *gy) {
  float u = x * x + y - 11, v = x + y * y - 7;
  *gx = 4 * x * u + 2 * v;
  *gy = 2 * u + 4 * y * v;
  return u * u + v * v;
}

static inline float larger(float a, float b) { return a > b ? a : b; }

/* One lane that diverges: it keeps the last point where the loss is finite. */
static void descend_alone(float *px, float *py, int32_t *steps, float rate, float tol,
                          int max_steps) {
  float x = *px, y = *py, gx, gy;
  *steps = 0;
  for (int step = 0; value_and_gradient(x, y, &gx, &gy) < INFINITY; step++) {
    *px = x, *py = y, *steps = step;
    if (step == max_steps || !(larger(fabsf(gx), fabsf(gy)) > tol)) break;
    x -= rate * gx, y -= rate * gy;
  }
}

/* All lanes of a patch, until the last one is done; returns the steps that each of them took. */
static int64_t descend_patch(const float *starts, float *ends, int32_t *steps_taken, int n, int row,
                             int col, float rate, float tol, int max_steps) {
  float x[LANES], y[LANES];
  int32_t steps[LANES];
  for (int i = 0; i < LANES; i++) {
    int at = (row + i / EDGE) * n + col + i % EDGE;
    x[i] = starts[2 * at], y[i] = starts[2 * at + 1], steps[i] = 0;
  }
  int done = 0, running = 1;
  for (; done < max_steps && running; done++) {
    running = 0;
#pragma omp simd reduction(| : running)
    for (int i = 0; i < LANES; i++) {
      float gx, gy;
      value_and_gradient(x[i], y[i], &gx, &gy);
      /* A lane that stopped does not move, and so stops again. One that is no longer finite moves
         on, to NaN, where every comparison is false; it is run again below. */
      int run = larger(fabsf(gx), fabsf(gy)) > tol;
      float lane_rate = run ? rate : 0;
      x[i] -= lane_rate * gx;
      y[i] -= lane_rate * gy;
      steps[i] += run;
      running |= run;
    }
  }
  for (int i = 0; i < LANES; i++) {
    int at = (row + i / EDGE) * n + col + i % EDGE;
    float gx, gy;
    if (!(value_and_gradient(x[i], y[i], &gx, &gy) < INFINITY)) {
      x[i] = starts[2 * at], y[i] = starts[2 * at + 1];
      descend_alone(&x[i], &y[i], &steps[i], rate, tol, max_steps);
    }
    ends[2 * at] = x[i], ends[2 * at + 1] = y[i], steps_taken[at] = steps[i];
  }
  return done;
}

/* starts, ends: [n, n, 2]; steps: [n, n]; n is a multiple of 8. Returns the lane-steps executed. */
int64_t descend(const float *starts, float *ends, int32_t *steps, int n, float rate, float tol,
                int max_steps) {
  int64_t executed = 0;
  int edge = n / EDGE;
#pragma omp parallel for schedule(dynamic, 8) reduction(+ : executed)
  for (int patch = 0; patch < edge * edge; patch++)
    executed += LANES * descend_patch(starts, ends, steps, n, patch / edge * EDGE,
                                      patch % edge * EDGE, rate, tol, max_steps);
  return executed;
}
