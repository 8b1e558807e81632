// Student's t, for Welch's interval: its quantile, by its distribution function
const logGamma = (x) => {
  const terms = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155,
    1.208650973866179e-3, -5.395239384953e-6];
  const base = x + 5.5 - (x + 0.5) * Math.log(x + 5.5);
  return Math.log((2.5066282746310005 * terms.reduce((sum, term, i) => sum + term / (x + i + 1), 1.000000000190015)) / x) - base;
};
const incompleteBeta = (x, a, b) => {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const tiny = 1e-300; // Lentz's continued fraction
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || tiny);
  let sum = d;
  for (let m = 1; m < 1000; m++) {
    for (const term of [(m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + term * d || tiny);
      c = 1 + term / c || tiny;
      sum *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-14) break;
  }
  const front = a * Math.log(x) + b * Math.log(1 - x) + logGamma(a + b) - logGamma(a) - logGamma(b);
  return (Math.exp(front) * sum) / a;
};
const quantile = (confidence, freedom) => {
  const beyond = (t) => incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
  let [low, high] = [0, 1];
  while (beyond(high) > 1 - confidence) high *= 2;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (beyond(middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
};

// As `analysis/intervals.ratio` and `analysis/comparison.judge_ratio`
const ratio = (values, base, confidence) => {
  if (!values.length || !base.length || Math.min(...values, ...base) <= 0) return null;
  const [above, below] = [values, base].map((side) => {
    const logs = side.map(Math.log);
    const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
    const spread = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1);
    return { mean, part: spread / logs.length, freedom: logs.length - 1 };
  });
  const difference = above.mean - below.mean;
  if (Math.min(values.length, base.length) < 2) return { value: Math.exp(difference), low: null, high: null };
  const sum = above.part + below.part;
  const freedom = sum ** 2 / (above.part ** 2 / above.freedom + below.part ** 2 / below.freedom);
  const half = sum ? quantile(confidence, freedom) * Math.sqrt(sum) : 0;
  return { value: Math.exp(difference), low: Math.exp(difference - half), high: Math.exp(difference + half) };
};
const finding = (one, higherIsBetter, margin, margins) => {
  if (one.low === null) return "can't tell";
  const worse = higherIsBetter ? { value: 1 / one.value, low: 1 / one.high, high: 1 / one.low } : one;
  if (worse.low > 1 && worse.value > 1 + margin) return "worse";
  if (worse.high < 1 && worse.value < 1 / (1 + margin)) return "better";
  const wide = 1 + margins * margin;
  return 1 / wide <= worse.low && worse.high <= wide ? "same" : "can't tell";
};
const percent = (one) => {
  const change = (value) => {
    const text = (100 * (value - 1)).toFixed(1);
    return (text.startsWith("-") ? "" : "+") + text;
  };
  const text = `${change(one.value)}${NARROW}%`;
  const whole = one.low === null ? text : `${text} (${change(one.low)} to ${change(one.high)})`;
  return whole.replaceAll("-", "−");
};
