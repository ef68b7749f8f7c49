//! Maps ImageNet's classes to the classes of Animals with Attributes that they are kinds of.

/// The animal, and places of its kinds in the order of ImageNet's 1000 logits. Animals without a kind there are left
/// out, and so are the ten test classes.
pub const ANIMALS: [(&str, &[usize]); 28] = [
    ("antelope", &[351, 352, 353]), // hartebeest, impala, gazelle
    ("beaver", &[337]),
    ("buffalo", &[346, 347]), // water buffalo, bison
    ("chihuahua", &[151]),
    ("collie", &[231]),
    ("dalmatian", &[251]),
    ("elephant", &[101, 385, 386]), // tusker, Indian, African
    ("fox", &[277, 278, 279, 280]), // red, kit, Arctic, grey
    ("german+shepherd", &[235]),
    ("gorilla", &[366]),
    ("grizzly+bear", &[294]), // brown bear
    ("hamster", &[333]),
    ("horse", &[339]), // sorrel
    ("killer+whale", &[148]),
    ("lion", &[291]),
    ("otter", &[360]),
    ("ox", &[345]),
    ("polar+bear", &[296]),  // ice bear
    ("rabbit", &[330, 331]), // wood rabbit, hare
    ("sheep", &[348, 349]),  // ram, bighorn
    ("siamese+cat", &[284]),
    ("skunk", &[361]),
    ("spider+monkey", &[381]),
    ("squirrel", &[335]), // fox squirrel
    ("tiger", &[292]),
    ("weasel", &[356]),
    ("wolf", &[269, 270, 271]), // timber, white, red
    ("zebra", &[340]),
];
