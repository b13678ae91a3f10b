// Characters that mean something at their place in an event stream.

export const LF = 10;
export const SPACE = 32;
export const COLON = 58;
export const D = 100;
export const E = 101;
export const I = 105;
export const R = 114;
