#uicontrol invlerp normalized

void main() {
  emitGrayscale(normalized());
}
