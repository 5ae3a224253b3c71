// Convolutions by cuDNN, where it is installed.
#pragma once

#include "launch.cuh"
#include "tensorlib/conv.h"

namespace tl {

enum class ConvOutput { y, x, w }; // which operand of sum(y * conv(x, w)) is computed

// TL_DECLINED without cuDNN and for what it does not take.
tl_status cudnn_conv(ConvOutput output, int dtype, const conv_shape &s, const void *x,
                     const void *w, const void *y, const void *bias);

} // namespace tl
