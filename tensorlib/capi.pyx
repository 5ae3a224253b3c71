"""The C interface for extensions; see capi.pxd, which is its documentation."""


cdef int require_api_version(int compiled) except -1:
    if compiled != TL_API_VERSION:
        raise ImportError(
            f"this extension was compiled for tensorlib's C API {compiled}, the "
            f"installed one is {TL_API_VERSION}; compile the extension again"
        )
    return 0


def api_version():
    """Return the version of the C API, `TL_API_VERSION`.

    Examples
    --------
    >>> api_version() >= 1
    True
    """
    return TL_API_VERSION
