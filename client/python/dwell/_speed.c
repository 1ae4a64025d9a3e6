/*
 * The usual inference in C: one that goes well or not, without evidence, of a model that is known by its
 * text. All else stays with profiler.py, whose types of the same names these are the bases of; what is
 * recorded, and how it gets to the daemon, is the same with and without this module.
 *
 * Happy path
 *   1. `track(name)` finds the model's account in a dict and gives an inference that knows it
 *   2. its __enter__ reads the clock
 *   3. its __exit__ reads it again, writes the record behind what all of the model's begin with, and
 *      appends it to the deque that the client's thread takes from
 *
 *      account.head                       8 bytes
 *     |  42 xx 0a 01 6d 19               |  ms, double | 40 01 of a failed one
 *        sample  name  tag of the time
 *
 * It was weighed to record through libdwell instead. That is a second client in the process: a thread, a
 * connection and a ledger of its own, other bytes on the wire, evidence that knows nothing of event
 * loops, and queries that have two of all to flush. What it would save is an append to a deque.
 *
 * What can fail: memory, and what the deque or the client's functions raise. The inference is dropped and
 * counted by account.drop; nothing is raised by __enter__ or __exit__. `track` goes to the Python way for
 * all that it does not know: `_track_any`. A KeyboardInterrupt and what else is no Exception passes, as
 * it may come out of any Python code that is called.
 *
 * Threads: the interpreter's lock guards all of it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

enum {
    STEP_MASK = 2047, /* as in _client.py, which a test compares */
    TIME_BYTES = 8,
    ERROR_BYTES = 2
};

static const char error_field[ERROR_BYTES] = {0x40, 0x01};

/* As Py_NewRef, which Python 3.9 has not. */
static PyObject *reference(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static PyObject *text_away, *text_track_any, *text_room, *number_0;
static PyObject *nothing; /* an inference without an account */
static PyTypeObject *inference_type;

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- accounts ---- */

/* Of one model. The objects are given once, in this order, by __init__. */
struct account {
    PyObject_HEAD PyObject *head; /* bytes that its samples begin with, up to the time */
    PyObject *failed_head;        /* of its failed ones, which are longer */
    PyObject *pending;            /* the client's deque */
    PyObject *append;             /* of it */
    PyObject *room;               /* client.room */
    PyObject *drop;               /* client.drop */
    PyObject *is_error; /* of an exception's type: does it make an inference a failed one? */
    int64_t since_ns;   /* of inferences, since the last one with evidence */
    int64_t due_ns;     /* that pay for the next */
};

static int account_init(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct account *account = (struct account *)self;
    PyObject *head, *failed_head, *pending, *append, *room, *drop, *is_error;
    if ((keywords != NULL && PyDict_GET_SIZE(keywords) > 0) ||
        !PyArg_ParseTuple(arguments, "SSOOOOO", &head, &failed_head, &pending, &append, &room,
                          &drop, &is_error)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "no keywords");
        }
        return -1;
    }
    PyObject *const given[] = {head, failed_head, pending, append, room, drop, is_error};
    PyObject **const kept[] = {&account->head,    &account->failed_head, &account->pending,
                               &account->append,  &account->room,        &account->drop,
                               &account->is_error};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        PyObject *old = *kept[i];
        *kept[i] = reference(given[i]);
        Py_XDECREF(old);
    }
    return 0;
}

static int account_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct account *account = (struct account *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(account->head);
    Py_VISIT(account->failed_head);
    Py_VISIT(account->pending);
    Py_VISIT(account->append);
    Py_VISIT(account->room);
    Py_VISIT(account->drop);
    Py_VISIT(account->is_error);
    return 0;
}

static int account_clear(PyObject *self)
{
    struct account *account = (struct account *)self;
    Py_CLEAR(account->head);
    Py_CLEAR(account->failed_head);
    Py_CLEAR(account->pending);
    Py_CLEAR(account->append);
    Py_CLEAR(account->room);
    Py_CLEAR(account->drop);
    Py_CLEAR(account->is_error);
    return 0;
}

static void account_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)account_clear(self); /* always 0 */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef account_members[] = {
    {"since_ns", T_LONGLONG, offsetof(struct account, since_ns), 0, NULL},
    {"due_ns", T_LONGLONG, offsetof(struct account, due_ns), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot account_slots[] = {
    {Py_tp_doc, "What is needed of a model to record its usual inferences."},
    {Py_tp_init, account_init},
    {Py_tp_traverse, account_traverse},
    {Py_tp_clear, account_clear},
    {Py_tp_dealloc, account_dealloc},
    {Py_tp_members, account_members},
    {0, NULL},
};

static PyType_Spec account_spec = {
    .name = "dwell._speed.Account",
    .basicsize = sizeof(struct account),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = account_slots,
};

static PyTypeObject *account_type;

/* ---- inferences ---- */

struct inference {
    PyObject_HEAD struct account *account; /* NULL: it is not recorded */
    int64_t start_ns;                      /* 0: not entered */
};

/* A new one of this account, which may be NULL; or NULL with an exception. */
static PyObject *inference_of(struct account *account)
{
    struct inference *inference = PyObject_New(struct inference, inference_type);
    if (inference != NULL) {
        inference->account = account;
        Py_XINCREF(account);
        inference->start_ns = 0;
    }
    return (PyObject *)inference;
}

static void inference_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct inference *)self)->account);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *inference_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((struct inference *)self)->start_ns = clock_ns();
    return reference(self);
}

/* What was raised is an error of ours, and forgotten: true. Else it is for the application, and stays. */
static bool forgiven(void)
{
    if (PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return false;
    }
    PyErr_Clear();
    return true;
}

/* 1, 0, or -1 with an exception. */
static int truth_of(PyObject *owned)
{
    int truth = owned == NULL ? -1 : PyObject_IsTrue(owned);
    Py_XDECREF(owned);
    return truth;
}

/* Puts the record where the client's thread takes it from. 0, also where there was no room, which has been
 * counted then; -1 with an exception. */
static int record(struct account *account, int64_t wall_ns, bool failed)
{
    Py_ssize_t places = PyObject_Size(account->pending);
    if (places < 0) {
        return -1;
    }
    if ((places & STEP_MASK) == 0) {
        int room = truth_of(PyObject_CallFunction(account->room, "n", places));
        if (room <= 0) {
            return room;
        }
    }
    PyObject *head = failed ? account->failed_head : account->head;
    Py_ssize_t head_bytes = PyBytes_GET_SIZE(head);
    Py_ssize_t bytes = head_bytes + TIME_BYTES + (failed ? ERROR_BYTES : 0);
    PyObject *sample = PyBytes_FromStringAndSize(NULL, bytes);
    if (sample == NULL) {
        return -1;
    }
    char *out = PyBytes_AS_STRING(sample);
    double ms = (double)wall_ns / 1e6;
    uint64_t bits;
    memcpy(&bits, &ms, sizeof bits);
    memcpy(out, PyBytes_AS_STRING(head), (size_t)head_bytes);
    for (int i = 0; i < TIME_BYTES; i++) {
        out[head_bytes + i] = (char)(bits >> 8 * i); /* little-endian */
    }
    if (failed) {
        memcpy(out + head_bytes + TIME_BYTES, error_field, ERROR_BYTES);
    }
    PyObject *done = PyObject_CallOneArg(account->append, sample);
    Py_DECREF(sample);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Counts an inference that there will not be. False: what was raised is for the application. */
static bool count_dropped(const struct account *account)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    if (!forgiven()) {
        PyErr_Fetch(&type, &value, &traceback);
    }
    Py_XDECREF(PyObject_CallNoArgs(account->drop));
    if (type != NULL) { /* the first one counts */
        PyErr_Restore(type, value, traceback);
        return false;
    }
    return forgiven();
}

static PyObject *inference_exit(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    struct inference *inference = (struct inference *)self;
    struct account *account = inference->account;
    int64_t end_ns = clock_ns();
    if (account == NULL || account->drop == NULL) {
        Py_RETURN_NONE;
    }
    bool was_entered = inference->start_ns != 0;
    bool raised = count > 0 && arguments[0] != Py_None;
    int failed = raised ? truth_of(PyObject_CallOneArg(account->is_error, arguments[0])) : 0;
    bool good = was_entered && failed >= 0;
    if (good) {
        int64_t wall_ns = end_ns - inference->start_ns;
        account->since_ns += wall_ns;
        good = record(account, wall_ns, failed > 0) == 0;
    }
    return good || count_dropped(account) ? reference(Py_None) : NULL;
}

static PyMethodDef inference_methods[] = {
    {"__enter__", inference_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))inference_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot inference_slots[] = {
    {Py_tp_doc, "An inference of which only the time is told."},
    {Py_tp_dealloc, inference_dealloc},
    {Py_tp_methods, inference_methods},
    {0, NULL},
};

static PyType_Spec inference_spec = {
    .name = "dwell._speed.Inference",
    .basicsize = sizeof(struct inference),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = inference_slots,
};

/* ---- the profiler ---- */

struct profiler {
    PyObject_HEAD PyObject *client; /* both are set by ModelProfiler.__init__ */
    PyObject *models;               /* a dict of accounts by name */
};

static int profiler_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct profiler *profiler = (struct profiler *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(profiler->client);
    Py_VISIT(profiler->models);
    return 0;
}

static int profiler_clear(PyObject *self)
{
    struct profiler *profiler = (struct profiler *)self;
    Py_CLEAR(profiler->client);
    Py_CLEAR(profiler->models);
    return 0;
}

static void profiler_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)profiler_clear(self); /* always 0 */
    type->tp_free(self);
    Py_DECREF(type);
}

/* The account of a usual inference, borrowed; else NULL, perhaps with an exception. */
static struct account *usual_account(const struct profiler *profiler, PyObject *name)
{
    if (profiler->models == NULL || !PyDict_Check(profiler->models)) {
        return NULL;
    }
    PyObject *found = PyDict_GetItemWithError(profiler->models, name);
    if (found == NULL || !PyObject_TypeCheck(found, account_type)) {
        return NULL;
    }
    struct account *account = (struct account *)found;
    return account->since_ns < account->due_ns && account->head != NULL ? account : NULL;
}

/* While there is no daemon, an unusual inference is none either, and counted here. NULL, perhaps with an
 * exception: there is a daemon. */
static PyObject *inference_without_daemon(PyObject *client)
{
    PyObject *away = client == NULL ? NULL : PyObject_GetAttr(client, text_away);
    Py_XDECREF(away); /* True lives for ever */
    if (away != Py_True) {
        return NULL;
    }
    PyObject *room =
        PyObject_CallMethodOneArg(client, text_room, number_0); /* there is none: it counts */
    Py_XDECREF(room);
    return room == NULL ? NULL : reference(nothing);
}

static PyObject *profiler_track(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                PyObject *keywords)
{
    if (count == 1 && keywords == NULL && PyUnicode_CheckExact(arguments[0])) {
        const struct profiler *profiler = (const struct profiler *)self;
        struct account *account = usual_account(profiler, arguments[0]);
        PyObject *inference =
            account != NULL ? inference_of(account) : inference_without_daemon(profiler->client);
        if (inference != NULL) {
            return inference;
        }
        if (!forgiven()) {
            return NULL;
        }
    }
    PyObject *any = PyObject_GetAttr(self, text_track_any);
    PyObject *inference =
        any == NULL ? NULL : PyObject_Vectorcall(any, arguments, (size_t)count, keywords);
    Py_XDECREF(any);
    return inference;
}

static PyMethodDef profiler_methods[] = {
    {"track", (PyCFunction)(void (*)(void))profiler_track, METH_FASTCALL | METH_KEYWORDS,
     "track($self, model_name, /, **more)\n--\n\nAs ModelProfiler._track_any, but sooner."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef profiler_members[] = {
    {"client", T_OBJECT_EX, offsetof(struct profiler, client), 0, NULL},
    {"_models", T_OBJECT_EX, offsetof(struct profiler, models), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot profiler_slots[] = {
    {Py_tp_doc, "What has `client`, `_models` and `_track_any`, and gets `track`."},
    {Py_tp_traverse, profiler_traverse},
    {Py_tp_clear, profiler_clear},
    {Py_tp_dealloc, profiler_dealloc},
    {Py_tp_methods, profiler_methods},
    {Py_tp_members, profiler_members},
    {0, NULL},
};

static PyType_Spec profiler_spec = {
    .name = "dwell._speed.Profiler",
    .basicsize = sizeof(struct profiler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = profiler_slots,
};

/* ---- the sending side ---- */

/* take(popleft, places): ([record, …], bytes of them) of the next places; the empty ones among these belong
 * to a longer record. Beside four threads that record in C, the one that sends has a fifth of the
 * interpreter, so that what it does for each record has to be less than a fourth of what they do. */
static PyObject *module_take(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    (void)self;
    Py_ssize_t places = count == 2 ? PyLong_AsSsize_t(arguments[1]) : -1;
    if (places < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "take(popleft, places)");
        }
        return NULL;
    }
    PyObject *records = PyList_New(0);
    Py_ssize_t bytes = 0;
    for (Py_ssize_t i = 0; records != NULL && i < places; i++) {
        PyObject *record = PyObject_CallNoArgs(arguments[0]);
        if (record == NULL || !PyBytes_Check(record) ||
            (PyBytes_GET_SIZE(record) > 0 && PyList_Append(records, record) != 0)) {
            Py_XDECREF(record);
            PyErr_Clear(); /* there are no more, as after a fork; or no memory, and this one is lost */
            break;
        }
        bytes += PyBytes_GET_SIZE(record);
        Py_DECREF(record);
    }
    return records == NULL ? NULL : Py_BuildValue("(Nn)", records, bytes);
}

/* ---- the module ---- */

static PyMethodDef module_methods[] = {
    {"take", (PyCFunction)(void (*)(void))module_take, METH_FASTCALL,
     "take(popleft, places, /)\n--\n\nThe records in the next places, and their bytes."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "subinterpreters take the Python way");
        return -1;
    }
    text_away = PyUnicode_InternFromString("away");
    text_track_any = PyUnicode_InternFromString("_track_any");
    text_room = PyUnicode_InternFromString("room");
    number_0 = PyLong_FromLong(0);
    account_type = (PyTypeObject *)PyType_FromSpec(&account_spec);
    inference_type = (PyTypeObject *)PyType_FromSpec(&inference_spec);
    PyObject *profiler_type = PyType_FromSpec(&profiler_spec);
    if (text_away == NULL || text_track_any == NULL || text_room == NULL || number_0 == NULL ||
        account_type == NULL || inference_type == NULL || profiler_type == NULL) {
        return -1; /* what was made stays: it happens when the process starts, or never */
    }
    nothing = inference_of(NULL);
    if (nothing == NULL) {
        return -1;
    }
    return PyModule_AddIntConstant(module, "STEP_MASK", STEP_MASK) != 0 ||
                   PyModule_AddObject(module, "Account", reference((PyObject *)account_type)) !=
                       0 ||
                   PyModule_AddObject(module, "Inference", reference((PyObject *)inference_type)) !=
                       0 ||
                   PyModule_AddObject(module, "Profiler", profiler_type) != 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,       .m_name = "dwell._speed", .m_doc = "The usual inference in C.",
    .m_methods = module_methods, .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__speed(void);

PyMODINIT_FUNC PyInit__speed(void)
{
    return PyModuleDef_Init(&definition);
}
