// A module in C++ that throws what nobody catches.
#include <stdexcept>
extern "C" __attribute__((visibility("default"))) int
anchor(const char *r)
{
    return (int)__builtin_strlen(r);
}
extern "C" __attribute__((visibility("default"))) int
throws(const char *r)
{
    throw std::runtime_error(r); // line 11
}
