#include "child_thread.h"

#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature) /* clang says it so */
#else
#define HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
/* It stops a process that forks with several threads, unless told that this is meant. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
const bool child_has_thread = false;
#elif defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
const bool child_has_thread = false;
#else
const bool child_has_thread = true;
#endif
