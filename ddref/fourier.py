"""Moved to `ddref.maps.fourier`."""

raise ImportError(
    "ddref.fourier moved to ddref.maps.fourier: from ddref.maps import fourier, or "
    "RandomFourier, into_cube, gaussian_features, orthogonal_features of ddref.maps"
)
