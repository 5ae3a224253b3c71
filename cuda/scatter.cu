// Adding at integer positions, in a fixed order, and sums of weights by bins.
//
// Every tuple of indices becomes the number of its position. Wide integers are added by
// atomics, whose order does not matter. Others of few tuples, or of short rows of them,
// are added by the first of those that share a position. Of more, the numbers are
// sorted, stably; pieces of the sorted order are summed, each run in its order, and
// runs that cross pieces from the sums of their pieces. What fits a block's shared
// memory is sorted and summed there, by one launch; of many tuples the numbers are
// sorted once.
#include "radix.cuh"
#include "tuples.cuh"

namespace {

using namespace tl;

constexpr int64_t kFew = 64; // tuples that look for each other
constexpr int kCombineThreads = 128;
constexpr int kAhead = 4;                    // values that a thread asks for together
constexpr uint32_t kSkipped = UINT32_C(1) << 31; // flags a tuple that is out of range

// The number of a position in some row of `length` positions. An index out of range
// gets the row's first number, flagged.
__device__ inline uint32_t number_of(int64_t row, int64_t index, int64_t length,
                                     const Fault &fault) {
    const uint32_t first = static_cast<uint32_t>(row * length);
    if (index < 0) index += length;
    if (index >= 0 && index < length) return first + static_cast<uint32_t>(index);
    fault.raise(TL_INDEX_OUT_OF_RANGE);
    return first | kSkipped;
}

// The numbers of the tuples' positions: found before, or of one index that is read in
// place.
struct Numbers {
    const uint32_t *found; // null: of index
    const int64_t *index;
    int64_t step, length;
    Split split; // of tuples into rows, each with positions of its own
    Fault fault;
    __device__ uint32_t operator()(int64_t i) const {
        if (found != nullptr) return found[i];
        int64_t rest;
        return number_of(split(i, &rest), index[i * step], length, fault);
    }
    // Of few tuples in all.
    __device__ uint32_t at(uint32_t i) const {
        if (found != nullptr) return found[i];
        return number_of(split.by.quotient(i), index[i * step], length, fault);
    }
};

// Where elements are: tuple i's value in column c, and column c at position p.
template <typename T, typename V = T> struct Places {
    T *x;
    const V *v;
    Offset1 x_rows, v_rows;
    Offsets<2, int64_t> rest; // of x and v
    int64_t n, columns;
    int64_t row;  // tuples that may share positions: a row of them
    bool packed;  // 16 bytes of columns travel together
    Numbers numbers;
    // Where a column begins in x and v.
    __device__ void start(int64_t column, T **to, const V **from) const {
        int64_t at[2];
        rest.at(column, at);
        *to = x + at[0];
        *from = v + at[1];
    }
};

// ---- numbers of positions ----------------------------------------------------------
struct Narrow {
    const int64_t *wide;
    uint32_t *numbers;
    __device__ void operator()(int64_t i) const {
        numbers[i] = wide[i] == kNowhere ? kSkipped : static_cast<uint32_t>(wide[i]);
    }
};
// Of one index in any strides.
struct NumberRows {
    IndexAxis axis;
    Split split;
    uint32_t *numbers;
    Fault fault;
    __device__ void operator()(int64_t i) const {
        int64_t rest;
        numbers[i] =
            number_of(split(i, &rest), axis.index[axis.at(i)], axis.length, fault);
    }
};
struct WriteNumbers {
    Numbers numbers;
    uint32_t *to; // null: only look for what is out of range
    __device__ void operator()(int64_t i) const {
        const uint32_t number = numbers(i);
        if (to != nullptr) to[i] = number;
    }
};

// The index's one stride in C order; false where it has several.
bool is_even(const tl_buffer *index, int64_t *step) {
    Layout<1> layout;
    if (!axes_of(index, 0, index->ndim, &layout) || layout.ndim > 1) return false;
    *step = layout.ndim == 1 ? layout.strides[0][0] : 0;
    return true;
}

// ---- by atomics ---------------------------------------------------------------------
__device__ inline void add(uint32_t *x, uint32_t v) { atomicAdd(x, v); }
__device__ inline void add(uint64_t *x, uint64_t v) {
    atomicAdd(reinterpret_cast<unsigned long long *>(x),
              static_cast<unsigned long long>(v));
}
__device__ inline void add(bool *x, bool v) {
    if (v) *x = true;
}

template <typename T> struct AddAtomically {
    Places<T> places;
    Split split;
    __device__ void operator()(int64_t i) const {
        int64_t column;
        const int64_t tuple = split(i, &column);
        const uint32_t position = places.numbers(tuple);
        if (position & kSkipped) return;
        T *to;
        const T *from;
        places.start(column, &to, &from);
        add(to + places.x_rows(position), from[places.v_rows(tuple)]);
    }
};

// ---- few tuples ---------------------------------------------------------------------
// The first tuple of a position adds the values of all in its row, in their order.
template <typename T, typename V> struct AddFew {
    Places<T, V> places;
    Split split, rows;
    __device__ void operator()(int64_t i) const {
        int64_t column, before;
        const int64_t tuple = split(i, &column);
        const uint32_t position = places.numbers(tuple);
        if (position & kSkipped) return;
        rows(tuple, &before);
        for (int64_t other = tuple - before; other < tuple; ++other)
            if (places.numbers(other) == position) return;
        T *target;
        const V *values;
        places.start(column, &target, &values);
        target += places.x_rows(position);
        computed_t<T> sum = load(target);
        for (int64_t other = tuple; other < tuple - before + places.row; ++other)
            if (places.numbers(other) == position)
                sum += static_cast<computed_t<T>>(load(values + places.v_rows(other)));
        store(target, sum);
    }
};

// ---- runs of the sorted numbers ----------------------------------------------------
// Tuples in the order of their positions.
template <typename I> struct Sorted {
    const uint32_t *numbers;
    const I *order; // the tuple of each
    int64_t n;
    __device__ uint32_t position(int64_t i) const { return numbers[i] & ~kSkipped; }
    __device__ bool counts(int64_t i) const { return !(numbers[i] & kSkipped); }
};

// W columns of one row, read or written together.
template <typename T, int W> using Terms = Pack<computed_t<T>, W>;
template <typename T, int W, typename V> __device__ Terms<T, W> load_terms(const V *p) {
    const Pack<V, W> raw = *reinterpret_cast<const Pack<V, W> *>(p);
    Terms<T, W> found;
#pragma unroll
    for (int w = 0; w < W; ++w)
        found.at[w] = static_cast<computed_t<T>>(load(&raw.at[w]));
    return found;
}
template <typename T, int W> __device__ void store_terms(T *p, const Terms<T, W> &sum) {
    Pack<T, W> raw;
#pragma unroll
    for (int w = 0; w < W; ++w)
        store(&raw.at[w], sum.at[w]);
    *reinterpret_cast<Pack<T, W> *>(p) = raw;
}
template <typename P> __device__ void add_terms(P &sum, const P &more) {
#pragma unroll
    for (int w = 0; w < static_cast<int>(sizeof(sum.at) / sizeof(sum.at[0])); ++w)
        sum.at[w] += more.at[w];
}

// W columns of one piece.
template <typename T, typename V, int W, typename I> struct PieceSum {
    const Places<T, V> &places;
    Sorted<I> sorted;
    T *to; // the columns' places in x and v
    const V *from;
    Terms<T, W> *head; // of the piece's run that began before it
    Terms<T, W> *tail; // of its run that goes on behind it
    __device__ PieceSum(const Places<T, V> &places_, const Sorted<I> &sorted_,
                        int64_t column, Terms<T, W> *head_, Terms<T, W> *tail_)
        : places(places_), sorted(sorted_), head(head_), tail(tail_) {
        places.start(column, &to, &from);
    }

    // What a thread knows of some sorted tuples, loaded without waiting for each other.
    struct Some {
        uint32_t position[kAhead];
        T *target[kAhead]; // of those that begin
        bool begins[kAhead], counts[kAhead];
        Terms<T, W> old[kAhead], term[kAhead];
    };
    __device__ void look(int64_t first, int64_t end, Some &some) const {
        uint32_t before = first > 0 ? sorted.position(first - 1) : kSkipped;
        I tuple[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const bool inside = first + k < end;
            some.position[k] = inside ? sorted.position(first + k) : before;
            some.begins[k] = some.position[k] != before;
            some.counts[k] = inside && sorted.counts(first + k);
            tuple[k] = inside ? sorted.order[first + k] : 0;
            before = some.position[k];
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (some.counts[k])
                some.term[k] = load_terms<T, W>(from + places.v_rows(tuple[k]));
            if (!some.begins[k]) continue;
            some.target[k] = to + places.x_rows(some.position[k]);
            some.old[k] = load_terms<T, W>(some.target[k]);
        }
    }
    __device__ void run(int64_t begin, int64_t end) const {
        Terms<T, W> sum = {};
        T *target = nullptr; // of the run being summed, unless it began before
        for (int64_t first = begin; first < end; first += kAhead) {
            Some some;
            look(first, end, some);
#pragma unroll
            for (int k = 0; k < kAhead; ++k) {
                if (some.begins[k]) {
                    if (first + k > begin) finish(target, sum);
                    target = some.target[k];
                    sum = some.old[k];
                }
                if (some.counts[k]) add_terms(sum, some.term[k]);
            }
        }
        const bool goes_on =
            end < sorted.n && sorted.position(end) == sorted.position(end - 1);
        if (goes_on && target != nullptr)
            *tail = sum;
        else
            finish(target, sum);
    }
    __device__ void finish(T *target, const Terms<T, W> &sum) const {
        if (target == nullptr)
            *head = sum;
        else
            store_terms<T, W>(target, sum);
    }
    // Of the run at place i, whose sum is complete.
    __device__ void write(int64_t i, const Terms<T, W> &sum) const {
        store_terms<T, W>(to + places.x_rows(sorted.position(i)), sum);
    }
};

// Whether a run begins in the piece at `begin` and goes on at `next`, behind it.
template <typename I>
__device__ bool crosses(const Sorted<I> &sorted, int64_t begin, int64_t next) {
    if (next >= sorted.n) return false;
    const uint32_t position = sorted.position(next);
    return sorted.position(next - 1) == position &&
           (begin == 0 || sorted.position(begin - 1) != position);
}

// ---- some: each block sorts the numbers itself --------------------------------------
constexpr int kTogether = kSortTile<uint32_t>;

// Sorts n <= kTogether numbers by their low `bits`; all threads of the block call it.
__device__ inline void sort_numbers(const Numbers &number, int n, int bits,
                                    uint32_t *numbers, uint16_t *order,
                                    TileCounts &counts) {
    constexpr int kItems = kSortItems<uint32_t>;
    uint32_t key[kItems], rank[kItems];
    uint16_t tuple[kItems];
    uint8_t digit[kItems];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
        tuple[k] = static_cast<uint16_t>(tile_place<kItems>(k));
        key[k] = tuple[k] < n ? number.at(tuple[k]) : 0;
    }
#pragma unroll 1
    for (int shift = 0; shift == 0 || shift < bits; shift += kDigitBits) {
        // What is no tuple has the largest digits, and comes last.
#pragma unroll
        for (int k = 0; k < kItems; ++k)
            digit[k] = tuple[k] < n
                           ? static_cast<uint8_t>((key[k] & ~kSkipped) >> shift)
                           : kDigits - 1;
        rank_tile(digit, rank, counts);
#pragma unroll
        for (int k = 0; k < kItems; ++k) {
            numbers[rank[k]] = key[k];
            order[rank[k]] = tuple[k];
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kItems; ++k) {
            key[k] = numbers[tile_place<kItems>(k)];
            tuple[k] = order[tile_place<kItems>(k)];
        }
    }
}

// A block for some columns, `lanes` packs of them: its threads share the sorted tuples.
template <typename T, typename V, int W>
__global__ void __launch_bounds__(kSortThreads)
    add_together_kernel(Places<T, V> places, int bits, int lanes) {
    __shared__ union {
        TileCounts counts;
        Terms<T, W> sums[2][kSortThreads]; // heads and tails
    } work;
    __shared__ uint32_t numbers[kTogether];
    __shared__ uint16_t order[kTogether];
    const int n = static_cast<int>(places.n);
    sort_numbers(places.numbers, n, bits, numbers, order, work.counts);
    __syncthreads(); // work changes its use
    const Sorted<uint16_t> sorted = {numbers, order, n};
    const int shares = kSortThreads / lanes;
    const int piece = (n + shares - 1) / shares | 1; // odd: no two in one bank
    const int begin = static_cast<int>(threadIdx.x) / lanes * piece;
    const int end = begin + piece < n ? begin + piece : n;
    const int64_t column =
        (static_cast<int64_t>(blockIdx.x) * lanes + threadIdx.x % lanes) * W;
    const bool works = begin < n && column < places.columns;
    Terms<T, W> *head = &work.sums[0][threadIdx.x], *tail = &work.sums[1][threadIdx.x];
    const PieceSum<T, V, W, uint16_t> sums(places, sorted, works ? column : 0, head,
                                           tail);
    if (works) sums.run(begin, end);
    __syncthreads();
    if (!works || !crosses(sorted, begin, begin + piece)) return;
    const uint32_t position = sorted.position(end);
    Terms<T, W> sum = *tail;
    for (int next = end; next < n && sorted.position(next) == position; next += piece)
        add_terms(sum, *(head += lanes));
    sums.write(end, sum);
}

int bits_of(int64_t positions) {
    return positions > 1 ? 64 - __builtin_clzll(static_cast<uint64_t>(positions - 1))
                         : 0;
}

template <typename T, typename V, int W>
tl_status add_together(const Places<T, V> &places, int64_t positions) {
    const int64_t packs = places.columns / W;
    int lanes = 1;
    while (lanes < kWarp && packs > 2 * lanes * static_cast<int64_t>(processors()))
        lanes *= 2;
    return launch(dim3(static_cast<unsigned>(ceil_div(packs, lanes))), kSortThreads, 0,
                  add_together_kernel<T, V, W>, places, bits_of(positions), lanes);
}

// Whether sorting again for every block costs less than a launch.
bool fits_together(int64_t n, int64_t packs) {
    return n <= kTogether && packs <= kWarp * 8 * static_cast<int64_t>(processors());
}

// ---- many: the numbers are sorted once -----------------------------------------------
template <typename T, typename V, int W> struct PieceSums {
    Places<T, V> places;
    Sorted<uint32_t> sorted;
    Terms<T, W> *heads, *tails; // (pieces, packs)
    int64_t piece, packs;       // length of a piece; packs of a row
    Split split;
    __device__ void operator()(int64_t i) const {
        int64_t pack;
        const int64_t begin = split(i, &pack) * piece;
        const int64_t end = begin + piece < sorted.n ? begin + piece : sorted.n;
        of(i, pack).run(begin, end);
    }
    __device__ PieceSum<T, V, W, uint32_t> of(int64_t i, int64_t pack) const {
        return {places, sorted, pack * W, heads + i, tails + i};
    }
};

// How many pieces have a share of the run that crosses into the one at `next`.
inline __device__ uint32_t pieces_of_run(const Sorted<uint32_t> &sorted, int64_t next,
                                         int64_t piece) {
    const uint32_t position = sorted.position(next);
    int64_t sure = 1, step = 1; // most runs are short: steps grow, then shrink
    const auto reaches = [&](int64_t pieces) {
        const int64_t at = next + (pieces - 1) * piece;
        return at < sorted.n && sorted.position(at) == position;
    };
    for (; reaches(sure + step); step *= 2)
        sure += step;
    for (; step > 0; step /= 2)
        if (reaches(sure + step)) sure += step;
    return static_cast<uint32_t>(sure);
}

// A block for each piece and group of packs: if a run goes on behind the piece and
// began in it, the block adds the sums of the pieces that follow.
template <typename T, typename V, int W>
__global__ void __launch_bounds__(kCombineThreads)
    combine_pieces_kernel(PieceSums<T, V, W> sums, unsigned wide, unsigned groups) {
    __shared__ Terms<T, W> partial[kCombineThreads];
    const int64_t piece = blockIdx.x / groups, begin = piece * sums.piece;
    const int64_t next = begin + sums.piece; // there is a piece behind this one
    if (!crosses(sums.sorted, begin, next)) return;
    const unsigned share = threadIdx.x / wide, shares = kCombineThreads / wide;
    const int64_t pack =
        static_cast<int64_t>(blockIdx.x % groups) * wide + threadIdx.x % wide;
    const uint32_t more = pieces_of_run(sums.sorted, next, sums.piece);
    const uint32_t each = (more + shares - 1) / shares, last = (share + 1) * each;
    Terms<T, W> sum = {};
    if (pack < sums.packs)
        for (uint32_t p = share * each; p < last && p < more; ++p)
            add_terms(sum, sums.heads[(piece + 1 + p) * sums.packs + pack]);
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (share > 0 || pack >= sums.packs) return;
    sum = sums.tails[piece * sums.packs + pack];
    for (unsigned s = 0; s < shares; ++s)
        add_terms(sum, partial[s * wide + threadIdx.x]);
    sums.of(0, pack).write(next, sum);
}

// Long enough that few sums are kept, short enough that all threads have work.
int64_t piece_length(int64_t n, int64_t packs) {
    const int64_t enough = static_cast<int64_t>(processors()) * 2048;
    int64_t piece = 16;
    while (piece < 512 && n / (2 * piece) * packs >= enough)
        piece *= 2;
    return piece;
}

template <typename T, typename V, int W>
tl_status sum_pieces(const PieceSums<T, V, W> &sums, int64_t pieces) {
    const tl_status status = for_each(pieces * sums.packs, sums);
    if (status != TL_OK || pieces == 1) return status;
    unsigned wide = 1;
    while (wide < kCombineThreads && wide < sums.packs)
        wide *= 2;
    const unsigned groups = static_cast<unsigned>(ceil_div(sums.packs, wide));
    return launch(dim3(static_cast<unsigned>(pieces - 1) * groups), kCombineThreads,
                  0, combine_pieces_kernel<T, V, W>, sums, wide, groups);
}

template <typename T, typename V, int W>
tl_status add_sorted(const Places<T, V> &places, int64_t positions) {
    const int64_t n = places.n, packs = places.columns / W;
    const int64_t piece = piece_length(n, packs), pieces = ceil_div(n, piece);
    const int64_t slots = pieces * packs;
    const int64_t room = 2 * slots * static_cast<int64_t>(sizeof(Terms<T, W>));
    const int64_t each = n * static_cast<int64_t>(sizeof(uint32_t));
    if (pieces * ceil_div(packs, kCombineThreads) >> 31) return TL_DECLINED;
    const Scratch scratch(ceil_div(room, 16) * 16 + 3 * each);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    uint32_t *numbers = reinterpret_cast<uint32_t *>(scratch.as<char>() +
                                                     ceil_div(room, 16) * 16);
    SortJob<uint32_t> job;
    job.from = plain_rows<const uint32_t>(numbers, 1, n);
    job.to = plain_rows(numbers + n, 1, n);
    job.to_index = numbers + 2 * n;
    job.rows = 1;
    job.n = n;
    job.order = {kUnsignedOrder, 0, 0};
    job.bits = bits_of(positions);
    tl_status status = for_each(n, WriteNumbers{places.numbers, numbers});
    if (status == TL_OK) status = radix_sort(job);
    if (status != TL_OK) return status;
    Terms<T, W> *heads = scratch.as<Terms<T, W>>();
    return sum_pieces(PieceSums<T, V, W>{places,
                                         {numbers + n, job.to_index, n},
                                         heads,
                                         heads + slots,
                                         piece,
                                         packs,
                                         Split(slots, packs)},
                      pieces);
}

template <typename T, typename V, int W>
tl_status add_runs(const Places<T, V> &places, int64_t positions) {
    return fits_together(places.n, places.columns / W)
               ? add_together<T, V, W>(places, positions)
               : add_sorted<T, V, W>(places, positions);
}

// Every element looks at the numbers of its row: those of many rows are found first.
template <typename T, typename V> tl_status add_few(Places<T, V> places) {
    const int64_t size = places.n * places.columns;
    const bool first = places.numbers.found == nullptr && places.n > kTogether;
    const Scratch scratch(first ? places.n * static_cast<int64_t>(sizeof(uint32_t))
                                : 0);
    tl_status status = TL_OK;
    if (first) {
        uint32_t *numbers = scratch.as<uint32_t>();
        if (numbers == nullptr) return TL_OUT_OF_MEMORY;
        status = for_each(places.n, WriteNumbers{places.numbers, numbers});
        places.numbers.found = numbers;
    }
    if (status != TL_OK) return status;
    return for_each(size, AddFew<T, V>{places, Split(size, places.columns),
                                       Split(places.n, places.row)});
}

// ---- the ops ------------------------------------------------------------------------
// Where the device has no atomic sums, the sorted numbers serve integers, too.
template <typename T>
constexpr bool kHasAtomics = std::is_integral<T>::value &&
                             (sizeof(T) >= 4 || std::is_same<T, bool>::value);

template <typename T, typename V>
tl_status add_all(const Places<T, V> &places, int64_t positions) {
    const int64_t size = places.n * places.columns;
    if (size == 0 || positions == 0)
        return for_each(places.n, WriteNumbers{places.numbers, nullptr});
    if constexpr (kHasAtomics<T>) {
        return for_each(size, AddAtomically<T>{places, Split(size, places.columns)});
    } else {
        if (places.row <= kFew) return add_few(places);
        // Integers this narrow are rare: they have no kernels for packs.
        if constexpr (std::is_same<T, V>::value && !std::is_integral<T>::value)
            if (places.packed) return add_runs<T, V, pack_of<T>>(places, positions);
        return add_runs<T, V, 1>(places, positions);
    }
}

// Whether all addresses of `strides` allow packs, those of a row lying side by side.
template <typename T>
bool is_packed(const void *data, const Layout<1> &rows, int64_t columns) {
    bool packed = is_aligned(data, 16) && columns % pack_of<T> == 0;
    for (int d = 0; d < rows.ndim; ++d)
        packed &= rows.strides[d][0] % pack_of<T> == 0;
    return packed;
}

// Describes a call whose tuples have `tuple_axes` axes in v and `indexed` ones in x.
template <typename T, typename V>
bool describe(const tl_buffer *x, int indexed, const tl_buffer *v, int tuple_axes,
              Places<T, V> *places, int64_t *positions) {
    Layout<1> x_rows, v_rows;
    Layout<2> rest;
    if (v->device_type != TL_CUDA || !axes_of(x, 0, indexed, &x_rows) ||
        !axes_of(v, 0, tuple_axes, &v_rows) ||
        !axes_of_both(x, indexed, v, tuple_axes, x->ndim - indexed, &rest))
        return false;
    places->x = static_cast<T *>(x->data);
    places->v = static_cast<const V *>(v->data);
    places->x_rows = Offset1(x_rows);
    places->v_rows = Offset1(v_rows);
    places->rest = Offsets<2, int64_t>(rest);
    places->n = places->row = v_rows.size;
    places->columns = rest.size;
    places->packed = rest.ndim == 1 && rest.contiguous &&
                     is_packed<T>(x->data, x_rows, rest.size) &&
                     is_packed<T>(v->data, v_rows, rest.size);
    *positions = x_rows.size;
    return places->n < INT64_C(1) << 32 && *positions < static_cast<int64_t>(kSkipped);
}

template <typename T, typename V = T> Places<T, V> no_places() {
    return {nullptr, nullptr, Offset1(), Offset1(), Offsets<2, int64_t>(Layout<2>{}),
            0, 1, 0, false,
            Numbers{nullptr, nullptr, 0, 0, Split(0, 1), Fault{}}};
}

// Adds at the positions of one index: tuples in rows of places.row, each row with
// `length` positions of its own.
template <typename T, typename V>
tl_status add_by_index(const tl_buffer *index, int64_t length, int64_t positions,
                       Places<T, V> *places) {
    Numbers &numbers = places->numbers;
    if (index->device_type != TL_CUDA) return TL_DECLINED;
    numbers.index = static_cast<const int64_t *>(index->data);
    numbers.length = length;
    numbers.split = Split(places->n, places->row);
    numbers.fault = fault();
    if (is_even(index, &numbers.step)) return add_all(*places, positions);
    Layout<1> layout;
    if (!axes_of(index, 0, index->ndim, &layout)) return TL_DECLINED;
    const Scratch scratch(places->n * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *found = scratch.as<uint32_t>();
    if (found == nullptr) return TL_OUT_OF_MEMORY;
    const IndexAxis axis = {numbers.index, Offset1(layout), length, 1};
    const tl_status status =
        for_each(places->n, NumberRows{axis, numbers.split, found, numbers.fault});
    numbers.found = found;
    return status == TL_OK ? add_all(*places, positions) : status;
}

// Adds at the positions that several indices name together.
template <typename T, typename V>
tl_status add_by_tuples(const tl_call *call, int indexed, int64_t positions,
                        Places<T, V> *places) {
    const int64_t n = places->n;
    const Scratch scratch(n * static_cast<int64_t>(sizeof(int64_t) + sizeof(uint32_t)));
    int64_t *wide = scratch.as<int64_t>();
    if (wide == nullptr) return TL_OUT_OF_MEMORY;
    uint32_t *found = reinterpret_cast<uint32_t *>(wide + n);
    tl_status status = find_places(call, call->out[0], indexed, true, n, wide);
    if (status == TL_OK) status = for_each(n, Narrow{wide, found});
    places->numbers.found = found;
    return status == TL_OK ? add_all(*places, positions) : status;
}

template <typename T> tl_status run_index_add(const tl_call *call) {
    const auto *params = static_cast<const tl_index_params *>(call->params);
    const tl_buffer *x = call->out[0], *v = call->in[0];
    const int indexed = params->n_indexed;
    Places<T> places = no_places<T>();
    int64_t positions;
    if (!params->accumulate ||
        !describe(x, indexed, v, call->in[1]->ndim, &places, &positions))
        return TL_DECLINED;
    if (places.n == 0) return TL_OK;
    return indexed == 1 ? add_by_index(call->in[1], x->shape[0], positions, &places)
                        : add_by_tuples(call, indexed, positions, &places);
}

template <typename T> tl_status run_scatter_add(const tl_call *call) {
    const tl_buffer *x = call->out[0], *v = call->in[0], *index = call->in[1];
    Places<T> places = no_places<T>();
    int64_t positions;
    if (!describe(x, x->ndim, v, v->ndim, &places, &positions)) return TL_DECLINED;
    if (places.n == 0) return TL_OK;
    places.row = index->shape[index->ndim - 1];
    return add_by_index(index, x->shape[x->ndim - 1], positions, &places);
}

// ---- sums of weights ----------------------------------------------------------------
struct ZeroSums {
    double *to;
    __device__ void operator()(int64_t i) const { to[i] = 0; }
};

template <typename V> tl_status run_weighted_bincount(const tl_call *call) {
    const tl_buffer *out = call->out[0], *weights = call->in[0], *bins = call->in[1];
    Places<double, V> places = no_places<double, V>();
    int64_t positions;
    if (!describe(out, 1, weights, 1, &places, &positions) ||
        bins->device_type != TL_CUDA)
        return TL_DECLINED;
    const tl_status status =
        for_each(out->size, ZeroSums{static_cast<double *>(out->data)});
    if (status != TL_OK || weights->size == 0) return status;
    return add_by_index(bins, out->size, positions, &places);
}

// ---- entries ------------------------------------------------------------------------
#define TL_ADD_ENTRIES(dtype, T)                                                       \
    {"index_add", dtype, run_index_add<T>, nullptr},                                   \
        {"scatter_add", dtype, run_scatter_add<T>, nullptr},

const tl_cuda_entry entries[] = {
    TL_ADD_ENTRIES(TL_BOOL, bool) TL_ADD_ENTRIES(TL_INT8, uint8_t)
        TL_ADD_ENTRIES(TL_UINT8, uint8_t) TL_ADD_ENTRIES(TL_INT16, uint16_t)
            TL_ADD_ENTRIES(TL_UINT16, uint16_t) TL_ADD_ENTRIES(TL_INT32, uint32_t)
                TL_ADD_ENTRIES(TL_UINT32, uint32_t) TL_ADD_ENTRIES(TL_INT64, uint64_t)
                    TL_ADD_ENTRIES(TL_UINT64, uint64_t) TL_ADD_ENTRIES(
                        TL_FLOAT16, tl_float16) TL_ADD_ENTRIES(TL_BFLOAT16, tl_bfloat16)
                        TL_ADD_ENTRIES(TL_FLOAT32, float) TL_ADD_ENTRIES(
                            TL_FLOAT64, double){"weighted_bincount", TL_FLOAT32,
                                                run_weighted_bincount<float>, nullptr},
    {"weighted_bincount", TL_FLOAT64, run_weighted_bincount<double>, nullptr},
};
#undef TL_ADD_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_scatter_entries(int *count) {
    *count = static_cast<int>(sizeof(entries) / sizeof(entries[0]));
    return entries;
}
