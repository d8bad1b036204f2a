// The functions of the extension that Python can call.

#include <torch/csrc/utils/pybind.h>

#include "fast.h"

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
    const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
    module.def("residual_unit", &residual_unit, release);
    module.def("residual_unit_backward", &residual_unit_backward, release);
    module.def("period_conv", &period_conv, release);
    module.def("thin_conv", &thin_conv, release);
    module.def("feature_distance", &feature_distance, release);
    module.def("snake", &snake, release);
    module.def("snake_backward", &snake_backward, release);
    module.def("gru", &gru, release);
    module.def("gru_backward", &gru_backward, release);
    module.def("spectral_terms", &spectral_terms, release);
    module.def("band_sums", &band_sums, release);
    module.def("band_sums_backward", &band_sums_backward, release);
    module.def("interpolate", &interpolate, release);
    module.def("conv_2d", &conv_2d, release);
    module.def("conv_2d_backward", &conv_2d_backward, release);
    module.def("conv_transposed_2d", &conv_transposed_2d, release);
    module.def("conv_transposed_2d_backward", &conv_transposed_2d_backward, release);
    module.def("depthwise_conv", &depthwise_conv, release);
    module.def("depthwise_conv_backward", &depthwise_conv_backward, release);
    module.def("gelu", static_cast<std::vector<Tensor> (*)(const Tensor&, bool)>(&gelu), release);
    module.def("gelu_backward", &gelu_backward, release);
    module.def("filtered_spectra", &filtered_spectra, release);
    module.def("filtered_spectra_backward", &filtered_spectra_backward, release);
    module.def("frozen_layer", &frozen_layer, release);
    module.def("frozen_layer_backward", &frozen_layer_backward, release);
    module.def("gated_softmax", &gated_softmax, release);
    module.def("gated_softmax_backward", &gated_softmax_backward, release);
    module.def("conv_modulation", &conv_modulation, release);
    module.def("conv_modulation_backward", &conv_modulation_backward, release);
    module.def("causal_conv", &causal_conv, release);
    module.def("causal_conv_backward", &causal_conv_backward, release);
    module.def("transposed_conv", &transposed_conv, release);
    module.def("transposed_conv_backward", &transposed_conv_backward, release);
    module.def("window_conv", &window_conv, release);
    module.def("window_conv_backward", &window_conv_backward, release);
    module.def("window_transposed", &window_transposed, release);
    module.def("window_transposed_backward", &window_transposed_backward, release);
    module.def("residual_quantizer", &residual_quantizer, release);
    module.def("residual_quantizer_backward", &residual_quantizer_backward, release);
    module.def("lstm", &lstm, release);
    module.def("lstm_backward", &lstm_backward, release);
}
