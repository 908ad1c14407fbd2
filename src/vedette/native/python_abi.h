/* The few names of Python's stable ABI (PEP 384, 3.11) that the screen needs, declared here so that building asks for a C
 * compiler only and not for Python's headers. Layouts are those of the stable ABI, which do not change within Python 3. */
#ifndef VEDETTE_PYTHON_ABI_H
#define VEDETTE_PYTHON_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef ssize_t Py_ssize_t;
typedef struct _object PyObject;
typedef struct _thread_state PyThreadState;
typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef PyObject *(*PyCFunctionFast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef struct {
    const char *ml_name;
    PyCFunction ml_meth;
    int ml_flags;
    const char *ml_doc;
} PyMethodDef;
typedef struct {
    Py_ssize_t ob_refcnt;
    void *ob_type;
    PyObject *(*m_init)(void);
    Py_ssize_t m_index;
    PyObject *m_copy;
} PyModuleDef_Base;
typedef struct {
    PyModuleDef_Base m_base;
    const char *m_name;
    const char *m_doc;
    Py_ssize_t m_size;
    PyMethodDef *m_methods;
    void *m_slots, *m_traverse, *m_clear, *m_free;
} PyModuleDef;

#define METH_FASTCALL 0x0080
#define METH_O 0x0008
#define METH_NOARGS 0x0004
#define PYTHON_API_VERSION 1013

extern PyObject _Py_NoneStruct, _Py_TrueStruct, _Py_FalseStruct;
extern void *PyExc_TypeError;
void Py_IncRef(PyObject *);
void Py_DecRef(PyObject *);
PyObject *PyModule_Create2(PyModuleDef *, int);
void PyErr_SetString(void *, const char *);
void PyErr_Clear(void);
PyObject *PyErr_NoMemory(void);
Py_ssize_t PyUnicode_GetLength(PyObject *);
const char *PyUnicode_AsUTF8AndSize(PyObject *, Py_ssize_t *);
uint32_t *PyUnicode_AsUCS4Copy(PyObject *);
PyObject *PyUnicode_DecodeUTF8(const char *, Py_ssize_t, const char *);
PyObject *PyUnicode_DecodeUTF32(const char *, Py_ssize_t, const char *, int *);
PyObject *PyUnicode_FromStringAndSize(const char *, Py_ssize_t);
PyObject *PyObject_CallMethod(PyObject *, const char *, const char *, ...);
long PyLong_AsLong(PyObject *);
PyObject *PyLong_FromSsize_t(Py_ssize_t);
void *PyLong_AsVoidPtr(PyObject *);
PyObject *PyFloat_FromDouble(double);
double PyFloat_AsDouble(PyObject *);
int PyObject_IsTrue(PyObject *);
PyObject *PyList_New(Py_ssize_t);
int PyList_Append(PyObject *, PyObject *);
int PyList_SetItem(PyObject *, Py_ssize_t, PyObject *);
PyObject *PyTuple_New(Py_ssize_t);
int PyTuple_SetItem(PyObject *, Py_ssize_t, PyObject *);
Py_ssize_t PyList_Size(PyObject *);
PyObject *PyList_GetItem(PyObject *, Py_ssize_t);
Py_ssize_t PyTuple_Size(PyObject *);
PyObject *PyTuple_GetItem(PyObject *, Py_ssize_t);
PyObject *PyCapsule_New(void *, const char *, void (*)(PyObject *));
void *PyCapsule_GetPointer(PyObject *, const char *);
void PyMem_Free(void *);
PyThreadState *PyEval_SaveThread(void);
void PyEval_RestoreThread(PyThreadState *);

static inline PyObject *py_new_ref(PyObject *object) {
    Py_IncRef(object);
    return object;
}
#define py_none() py_new_ref(&_Py_NoneStruct)
#define py_bool(truth) py_new_ref((truth) ? &_Py_TrueStruct : &_Py_FalseStruct)

#endif
