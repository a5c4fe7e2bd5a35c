"""Moved to `ddref.maps`."""

raise ImportError(
    "ddref.conv moved to ddref.maps: Conv2d, small_cnn, Linear, LeakyReLU (without its "
    "width) and Chain are in ddref.maps, from_sequential is ddref.maps.from_torch"
)
