"""Floats as small numbers: what layers use for `quantize`, under Keras's names."""

from lamina.quantizers.configs import Float8QuantizationConfig as Float8QuantizationConfig
from lamina.quantizers.configs import Int4QuantizationConfig as Int4QuantizationConfig
from lamina.quantizers.configs import Int8QuantizationConfig as Int8QuantizationConfig
from lamina.quantizers.configs import QuantizationConfig as QuantizationConfig
from lamina.quantizers.fake import fake_quant_with_min_max_vars as fake_quant_with_min_max_vars
from lamina.quantizers.float8 import compute_float8_amax_history as compute_float8_amax_history
from lamina.quantizers.float8 import compute_float8_scale as compute_float8_scale
from lamina.quantizers.float8 import quantize_and_dequantize as quantize_and_dequantize
from lamina.quantizers.integers import AbsMaxQuantizer as AbsMaxQuantizer
from lamina.quantizers.integers import Quantizer as Quantizer
from lamina.quantizers.integers import abs_max_quantize as abs_max_quantize
from lamina.quantizers.integers import (
    abs_max_quantize_grouped_with_zero_point as abs_max_quantize_grouped_with_zero_point,
)
from lamina.quantizers.integers import compute_quantization_parameters as compute_quantization_parameters
from lamina.quantizers.integers import dequantize_with_sz_map as dequantize_with_sz_map
from lamina.quantizers.integers import deserialize as deserialize
from lamina.quantizers.integers import get as get
from lamina.quantizers.integers import pack_int4 as pack_int4
from lamina.quantizers.integers import quantize_with_sz_map as quantize_with_sz_map
from lamina.quantizers.integers import serialize as serialize
from lamina.quantizers.integers import unpack_int4 as unpack_int4
