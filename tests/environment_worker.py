"""What tests/test_environment.py runs in a process of its own, which imports the package first of all in this file."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Barrier


def in_a_new_process(method, function):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function).result(timeout=240)  # seconds until it counts as hanging


def first_use(barrier):
    """What a thread gets of the package if others import it at the same time."""
    barrier.wait()
    import ddref

    return ddref.krr.fit, ddref.maps.Linear, ddref.DistilledRidge, ddref.nonsurjective.solve, ddref.kip.train


def results():
    import everything

    return everything.results()


def seen():
    """What this process is like, its results, and those of a fork of it."""
    barrier = Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(first_use, [barrier] * 8)
    found = {"spawn": results()}
    if "fork" in multiprocessing.get_all_start_methods():
        found["fork"] = in_a_new_process("fork", results)
    return __debug__, results.__doc__ or first_use.__doc__, others == [first] * 7, found
