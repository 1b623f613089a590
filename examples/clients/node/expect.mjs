// Prints what is right, and ends the program where it is not.
export function expect (right, what) {
  if (!right) {
    console.error('wrong: %s', what)
    process.exit(1)
  }
  console.log(what)
}
