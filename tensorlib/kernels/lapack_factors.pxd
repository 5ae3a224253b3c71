# The LU factorization, for the kernels of systems of equations too.
from tensorlib.kernels.lapack cimport Job

# Factor column-major a (m, n) in place, order getting min(m, n) interchanges, from 1;
# LAPACK's info.
cdef int factor_lu(const Job *job, int m, int n, char *a, int *order) noexcept nogil
