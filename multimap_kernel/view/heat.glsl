#uicontrol float threshold slider(min=0, max=$slider, step=$step)
#uicontrol float limit slider(min=0, max=$slider, step=$step)
#uicontrol float alpha slider(min=0, max=1, step=0.01, default=0.9)
#uicontrol bool positive checkbox(default=true)
#uicontrol bool negative checkbox(default=true)

vec3 ramp(vec3 weak, vec3 middle, vec3 strong, float t) {
  return t < 0.5 ? mix(weak, middle, 2.0 * t) : mix(middle, strong, 2.0 * t - 1.0);
}

void main() {
  float value = float(getDataValue(0));
  float size = abs(value);
  // written as "not at least", so that NaN is hidden too
  if (!(size >= threshold) || (value > 0.0 && !positive) || (value < 0.0 && !negative)) {
    emitTransparent();
    return;
  }
  float t = clamp((size - threshold) / max(limit - threshold, 1e-6), 0.0, 1.0);
  vec3 colour = value > 0.0 ? ramp($positive, t) : ramp($negative, t);
  emitRGBA(vec4(colour, alpha));
}
