/* Which code of the user's program is running, read from the interpreter's frames.
 *
 * The public interface makes a frame object for each frame that is looked at, which
 * costs more than recording an op. The interpreter's own records are a linked list that
 * is only read here. They are private and change between versions of Python: on one
 * that is not known below nothing is found, and messages do without the line.
 */
#include <Python.h>
#include <stdint.h>

#if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED) && !defined(PYPY_VERSION)
#define TL_KNOWS_FRAMES 1
#define Py_BUILD_CORE 1
#include <internal/pycore_frame.h>
#if PY_VERSION_HEX >= 0x030D0000
#define tl_current_frame() (PyThreadState_GetUnchecked()->current_frame)
#define tl_frame_code(frame) _PyFrame_GetCode(frame)
#else
#define tl_current_frame() (_PyThreadState_UncheckedGet()->cframe->current_frame)
#define tl_frame_code(frame) ((frame)->f_code)
#endif
/* Frames that stand for C code between two others, and have no code of their own: since
 * 3.12. One that is being set up counts with them; before, it has its first line. */
#if PY_VERSION_HEX >= 0x030C0000
#define tl_has_no_code(frame) _PyFrame_IsIncomplete(frame)
#else
#define tl_has_no_code(frame) 0
#endif
#endif

/* Called inside one module: no jump through a table. */
#define HIDDEN __attribute__((visibility("hidden")))
#define FILES 64 /* entries; a program has few files that call the library */

/* Files of code, and whether they are the library's. An entry keeps its name alive, so
 * that an address stands for the same file as long as it is here. */
static struct {
    PyObject *name;
    int ours;
} tl_files_[FILES];
static PyObject *tl_user_file_; /* the last file found that is not ours; a reference */
static PyObject *tl_folder_;    /* what the names of our files begin with */

HIDDEN void tl_set_folder(PyObject *folder) {
    Py_INCREF(folder);
    Py_XSETREF(tl_folder_, folder);
}

/* Apart, so that the usual way saves few registers. */
__attribute__((noinline, cold)) static int tl_look_up(PyObject *name, unsigned at) {
    PyObject *before = tl_files_[at].name;
    Py_ssize_t ours = PyUnicode_Tailmatch(name, tl_folder_, 0, PY_SSIZE_T_MAX, -1);
    if (ours < 0) PyErr_Clear();
    Py_INCREF(name);
    tl_files_[at].name = name;
    tl_files_[at].ours = ours > 0;
    Py_XDECREF(before);
    return ours > 0;
}

__attribute__((noinline)) static int tl_find(PyObject *name) {
    unsigned at = (unsigned)((uintptr_t)name >> 4) % FILES;
    int ours = tl_files_[at].name == name ? tl_files_[at].ours : tl_look_up(name, at);
    if (!ours) {
        Py_INCREF(name);
        Py_XSETREF(tl_user_file_, name);
    }
    return ours;
}

static inline __attribute__((always_inline)) int is_ours(PyObject *name) {
    return name != tl_user_file_ && tl_find(name);
}

HIDDEN int tl_is_ours(PyObject *name) { return is_ours(name); }

/* The innermost code outside the library (borrowed; NULL when there is none), and the
 * offset in bytes of the instruction it is at. */
HIDDEN PyObject *tl_user_code(int *instruction) {
#ifdef TL_KNOWS_FRAMES
    struct _PyInterpreterFrame *frame = tl_current_frame();
    for (; frame != NULL; frame = frame->previous) {
        if (tl_has_no_code(frame)) continue;
        PyCodeObject *code = tl_frame_code(frame);
        if (!is_ours(code->co_filename)) {
            *instruction = _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
            return (PyObject *)code;
        }
    }
#endif
    *instruction = 0;
    return NULL;
}
