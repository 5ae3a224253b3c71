/* The version of what capi.pxd and these headers promise to extensions. */
#ifndef TENSORLIB_VERSION_H
#define TENSORLIB_VERSION_H

/* Grows with every change that needs extensions to be compiled again: a struct's
 * layout, a signature, the order of an enum. Additions at the end do not count. */
#define TL_API_VERSION 5

#endif /* TENSORLIB_VERSION_H */
